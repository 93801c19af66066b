import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from gcc.data.images import NEAREST
from gcc.data.paired import Augmentation, same_size
from gcc.errors import DataError
from tests.helpers.pairs import picture


@given(width=st.integers(1, 300), height=st.integers(1, 300), seed=st.integers(0, 2**32))
def test_the_crop_lies_within_the_enlarged_image(width, height, seed):
    drawn = Augmentation.draw((width, height), np.random.default_rng(seed))
    assert drawn.load == (round(width * 286 / 256), round(height * 286 / 256))
    assert 0 <= drawn.left <= drawn.load[0] - width and 0 <= drawn.top <= drawn.load[1] - height


def test_the_crop_of_a_square_is_drawn_as_before():
    for seed in range(100):
        random = np.random.default_rng(seed)
        left, top = random.integers(0, 30, size=2, endpoint=True)
        drawn = Augmentation.draw((256, 256), np.random.default_rng(seed))
        assert (drawn.left, drawn.top, drawn.mirrored) == (left, top, random.random() < 0.5)


def test_every_crop_and_both_mirrors_come_up():
    random = np.random.default_rng(0)
    drawn = {(a.left, a.top, a.mirrored) for a in (Augmentation.draw((16, 16), random) for _ in range(300))}
    assert len(drawn) == 3 * 3 * 2


def test_evaluation_only_resizes():
    image = picture(0, 30, 24)
    augmented = Augmentation.draw((16, 16), None)(image)
    assert np.array_equal(augmented, image.resize((16, 16), Image.Resampling.BICUBIC))


def test_training_resizes_crops_and_mirrors():
    image = picture(0, 30, 24)
    augmented = Augmentation((16, 16), (18, 18), left=2, top=1, mirrored=True)(image)
    expected = np.asarray(image.resize((18, 18), Image.Resampling.BICUBIC))[1:17, 2:18][:, ::-1]
    assert np.array_equal(augmented, expected)


def test_nearest_makes_no_new_colours():
    image = Image.fromarray(np.random.default_rng(0).choice([0, 90, 255], (50, 50, 1)).astype(np.uint8).repeat(3, 2))
    colours = np.unique(Augmentation.draw((16, 16), np.random.default_rng(0))(image, NEAREST))
    assert set(colours) <= {0, 90, 255}


def test_sizes_that_differ():
    with pytest.raises(DataError, match="a and b are 4x4 and 5x4 pixels"):
        same_size(Image.new("RGB", (4, 4)), Image.new("RGB", (5, 4)), "a and b")

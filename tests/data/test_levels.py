"""The values that mean black and white in files with more than 8 bits."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gcc.data.celeba import CelebA
from gcc.data.images import kind_of, read_image, to_tensor
from gcc.data.inspection import describe_misfits, describe_range, inspect_images
from gcc.data.levels import from_tensor
from gcc.errors import DataError, RecipeError
from tests.helpers.channels import recipe_of
from tests.helpers.images import save

KINDS = ["u2", ">u2", "i2", "i4", "f2", "f4", ">f8"]
BOUND = st.floats(-30000, 30000, width=32)


@settings(max_examples=15, deadline=None)
@given(kind=st.sampled_from(KINDS), bounds=st.tuples(BOUND, BOUND).filter(lambda pair: pair[0] < pair[1]), seed=st.integers(0, 99))
def test_a_range_is_read_as_by_hand_and_written_back(tmp_path_factory, kind, bounds, seed):
    low, high = bounds
    unsigned = np.dtype(kind).kind == "u"
    values = np.random.default_rng(seed).integers(0 if unsigned else -30000, 30000, (2, 3, 5)).astype(kind)
    image = to_tensor(read_image(save(tmp_path_factory.mktemp("range") / "a.npy", values), 2, bounds))
    exact = np.minimum(np.maximum(values.astype(np.float64), low), high)
    expected = 2 * (exact - low) / (high - low) - 1
    torch.testing.assert_close(image, torch.from_numpy(expected).float(), rtol=0, atol=2e-7)
    again = from_tensor(image, np.dtype(kind), bounds).astype(np.float64)
    limits = exact if not unsigned else exact.clip(0)
    error = max(1.0 if np.dtype(kind).kind != "f" else 0.0, (high - low) * 1e-6, 20 if kind == "f2" else 0)
    assert np.abs(again - limits).max() <= error


@pytest.mark.parametrize("channels", [1, 3])
def test_deep_grey_pictures_have_the_range(tmp_path, channels):
    values = np.array([[0, 100, 2100, 4100, 9000]], np.uint16)
    image = to_tensor(read_image(save(tmp_path / "a.png", values), channels, (100, 4100)))
    torch.testing.assert_close(image, torch.tensor([[-1.0, -1, 0, 1, 1]]).expand(channels, 1, 5), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("bands", "channels"), [(3, 3), (4, 3), (4, 4)])
def test_deep_colours_of_png_files_have_the_range(tmp_path, bands, channels):
    values = np.random.default_rng(0).integers(0, 5000, (6, 5, bands), dtype=np.uint16)
    path, array = save(tmp_path / "a.png", values), save(tmp_path / "a.npy", values[..., :channels])
    image, expected = (to_tensor(read_image(file, channels, (100, 4100))) for file in (path, array))
    assert torch.equal(image, expected) and kind_of(path, channels, (100, 4100)) == kind_of(array, channels, None) == np.uint16
    of_picture, of_array = inspect_images([(path, channels), (array, channels)], (100, 4100))
    assert of_picture.values == of_array.values and not of_picture.levels
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(DataError, match="a.png"):
        read_image(path, channels, (100, 4100))


def test_deep_colours_whose_bits_are_lost_are_refused_with_a_range(tmp_path):
    path = save(tmp_path / "a.png", np.zeros((2, 2, 3), np.uint16))
    with pytest.raises(DataError, match="upper 8 of its bits, .* save it as a TIFF or NumPy file with 1 channel"):
        read_image(path, 1, (0, 4095))


def test_the_range_leaves_8_bits_as_they_are(tmp_path):
    colours, grey = save(tmp_path / "a.png", np.full((2, 2, 3), 7, np.uint8)), save(tmp_path / "a.npy", np.full((2, 2), 7, np.uint8))
    assert isinstance(read_image(colours, 3, (0, 4095)), Image.Image)
    assert torch.equal(to_tensor(read_image(grey, 1, (0, 4095))), to_tensor(read_image(grey, 1)))


@pytest.mark.parametrize(
    ("values", "value_range", "message"),
    [
        (np.zeros((4, 5), np.int16), None, "give their `range`, which other integers need"),
        (np.full((4, 5), 2.0), None, "expected floating-point numbers from -1 to 1, or uint8 or uint16; give the `range` of the files"),
        (np.full((4, 5), np.nan), (0, 1), "values from nan to nan: expected finite numbers"),
        (np.full((4, 5), np.inf), (0, 1), "values from inf to inf: expected finite numbers"),
        (np.zeros((4, 5), complex), (0, 1), "type complex128"),
    ],
)
def test_values_without_a_meaning_are_refused(tmp_path, values, value_range, message):
    with pytest.raises(DataError, match=message):
        read_image(save(tmp_path / "a.npy", values), 1, value_range)


def test_the_plan_names_the_range_and_the_files_that_exceed_it(tmp_path):
    paths = [save(tmp_path / f"{top}.png", np.full((2, 2), top, np.uint16)) for top in (9, 4000)]
    paths += [save(tmp_path / "8.png", np.full((2, 2), 9, np.uint8))]

    def texts(value_range):
        images = inspect_images([(path, 1) for path in paths], value_range)
        return describe_range(images, value_range), describe_misfits(images, value_range)

    who = "2 of 3 images have more than 8 bits per channel, of which the values"
    assert texts(None) == (
        [f"{who} 0 to 65535 are black to white"],
        ['their integers reach 4000 at most: give `range="0..4095"` if that is white'],
    )
    assert texts((0, 4095)) == ([f"{who} 0 to 4095 are black to white"], [])
    assert texts((0, 100)) == ([f"{who} 0 to 100 are black to white"], ["1 of 3 images has values outside of the range, which are clipped"])


def test_datasets_read_with_the_range_and_keep_their_caches_without_one(tmp_path):
    for number in range(2):
        save(tmp_path / f"{number}.npy", np.full((32, 32), 4095, np.uint16))
    whole, stated = (CelebA(tmp_path, "train", recipe_of("sagan", output_nc=1, range=value)) for value in (None, (0, 4095)))
    assert whole.sample(0, None)["real"].max() < -0.8 and bool((stated.sample(0, None)["real"] == 1).all())
    before = whole.identity
    del whole.value_range
    assert before == whole.identity != stated.identity


@pytest.mark.parametrize("value", ["4095..0", "0..0", "0", "", "a..b", "0..1..2", "0..inf", "nan..1", (1,), (0, 10**400), {"a": 1}, True])
def test_other_ranges_are_refused(value):
    with pytest.raises(RecipeError, match="range = .*: expected the values of black and white"):
        recipe_of("pix2pix", range=value)


@pytest.mark.parametrize(("value", "text"), [("0..4095", "0..4095"), ((-1000, 3000.5), "-1000..3000.5"), (" 0 .. 1e3 ", "0..1000")])
def test_ranges_are_stored_as_text(value, text):
    assert recipe_of("pix2pix", range=value).to_dict()["range"] == text

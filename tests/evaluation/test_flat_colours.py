"""Colours of label maps are recovered from JPEG, and photographs have none that explain them."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gcc.errors import DataError
from gcc.evaluation.flat_colours import FlatColours, _flat_pixels
from gcc.evaluation.palette import labelled_pairs
from tests.evaluation.test_palette import Tensors
from tests.helpers.evaluators import streets

# The label colours of pix2pix's facades.
COLOURS = torch.tensor(
    [
        (2, 50, 254),
        (2, 2, 222),
        (254, 82, 2),
        (2, 130, 254),
        (174, 2, 2),
        (194, 254, 62),
        (34, 254, 226),
        (2, 206, 254),
        (254, 2, 2),
        (254, 158, 2),
        (254, 242, 2),
        (114, 254, 142),
    ]
)


def label_maps(count, size=96):
    """Return rectangles of random classes on a background as they come out of a JPEG file, (N, 3, H, W) uint8, and their classes."""
    random = np.random.default_rng(0)
    labels = np.zeros((count, size, size), dtype=np.int64)
    for number, image in enumerate(labels):
        for patch in range(12):
            top, left = random.integers(0, size - 30, 2)
            height, width = random.integers(20, 30, 2)
            image[top : top + height, left : left + width] = (number + patch) % len(COLOURS)
    return torch.stack([jpeg(COLOURS[image].numpy()) for image in torch.from_numpy(labels)]), torch.from_numpy(labels)


def jpeg(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "jpeg", quality=75)
    return torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)


@pytest.fixture(scope="module")
def maps():
    return label_maps(4)


def test_the_colours_of_jpeg_label_maps(maps):
    colours = FlatColours.of(maps[0])
    palette = colours.palette()
    distances = torch.cdist(palette.double(), COLOURS.double())
    assert sorted(distances.argmin(1).tolist()) == list(range(12)) and distances.amin(1).max() <= 5
    assert colours.covered(palette) > 0.99 and colours.covered(palette[1:]) < 0.95


def test_pairs_of_jpeg_label_maps(maps):
    jpegs, labels = maps
    photos = streets(4, 96)
    pairs = labelled_pairs(Tensors(B=photos, A=jpegs / 127.5 - 1), 4)
    true = torch.cdist(pairs.palette.double(), COLOURS.double()).argmin(1)
    assert pairs.key == "A" and len(pairs.palette) == 12 and (true[pairs.labels] == labels).double().mean() > 0.9


def test_a_photograph_on_white_is_not_a_label_map(maps):
    photos = torch.full_like(maps[0], 250)
    photos[..., 20:60, 20:60] = torch.randint(0, 256, (4, 3, 40, 40), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    assert labelled_pairs(Tensors(A=photos / 127.5 - 1, B=maps[0] / 127.5 - 1), 4).key == "B"
    with pytest.raises(DataError, match="label maps in flat colours"):
        labelled_pairs(Tensors(A=photos / 127.5 - 1, B=photos / 127.5 - 1), 4)


def test_photographs_have_no_colours_that_explain_them():
    photos = (127.5 * (streets(8) + 1)).round().to(torch.uint8)
    noise = torch.randint(0, 256, (2, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    for images in (photos, photos[:, :1].expand(-1, 3, -1, -1), noise, noise[..., :2, :2]):
        colours = FlatColours.of(images)
        assert colours.covered(colours.palette()) < 0.9


def test_flat_areas_by_loops():
    image = torch.randint(0, 15, (3, 6, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    image[:, 2:5, 1:6] //= 2
    expected = []
    for y in range(1, 5):
        for x in range(1, 6):
            patch = image[:, y - 1 : y + 2, x - 1 : x + 2].flatten(1).int()
            if (patch.amax(1) - patch.amin(1)).max() <= 12:
                expected.append(image[:, y, x].tolist())
    assert expected and _flat_pixels(image).T.tolist() == expected

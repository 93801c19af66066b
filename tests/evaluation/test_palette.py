"""Label maps are distinguished from photographs, and their colours become labels."""

from types import SimpleNamespace

import pytest
import torch

from gcc.data.demo.streets import COLOURS, Streets, _rendered
from gcc.errors import DataError
from gcc.evaluation.palette import labelled_pairs, nearest, palette_of, to_bytes
from tests.helpers.evaluators import streets
from tests.helpers.families import demo_data


class Tensors:
    """Samples of these tensors."""

    def __init__(self, **batch):
        self.batch = batch

    def __len__(self):
        return len(next(iter(self.batch.values())))

    def sample(self, index, random):
        assert random is None
        return {key: value[index] for key, value in self.batch.items()}


def maps(n=6, size=16, seed=0):
    """Return label maps of five colours, which differ little, in [-1, 1]."""
    palette = torch.tensor([[0, 0, 142], [0, 0, 110], [10, 0, 110], [255, 255, 255], [1, 2, 3]])
    labels = torch.randint(5, (n, size, size), generator=torch.Generator().manual_seed(seed))
    return palette[labels].permute(0, 3, 1, 2) / 127.5 - 1, {tuple(colour) for colour in palette.tolist()}


def test_the_demo_streets_have_cityscapes_colours():
    with demo_data(train=400):
        pairs = labelled_pairs(Streets(None, "train", SimpleNamespace(size=32)), 30)
    assert pairs.key == "A" and {tuple(colour) for colour in pairs.palette.tolist()} == set(COLOURS)
    assert pairs.photos.shape == (30, 3, 32, 32) and pairs.photos.dtype == torch.uint8
    number = {colour: index for index, colour in enumerate(COLOURS)}
    ours = torch.tensor([number[tuple(colour)] for colour in pairs.palette.tolist()])
    for index in (0, 7, 29):
        assert ours[pairs.labels[index]].tolist() == _rendered("train", index * 400 // 30, 32)[1].tolist()


def test_either_image_may_be_the_label_map():
    flat, colours = maps()
    photos = streets(6, 16)
    for key, batch in (("A", {"A": flat, "B": photos}), ("B", {"A": photos, "B": flat})):
        pairs = labelled_pairs(Tensors(**batch, number=torch.zeros(6)), 100)
        assert pairs.key == key and {tuple(colour) for colour in pairs.palette.tolist()} == colours
        assert pairs.palette[pairs.labels].permute(0, 3, 1, 2).equal(to_bytes(flat)) and pairs.photos.equal(to_bytes(photos))


def test_a_few_stray_pixels_belong_to_the_nearest_colour():
    flat, colours = maps(n=60)
    flat[0, :, 0, 0] = torch.tensor([3.0, 0.0, 138.0]) / 127.5 - 1
    pairs = labelled_pairs(Tensors(A=flat, B=streets(60, 16)), 100)
    assert len(pairs.palette) == 5 and pairs.palette[pairs.labels[0, 0, 0]].tolist() == [0, 0, 142]


def test_palette_and_nearest_colour_by_loops():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 40, (2, 3, 5, 7), generator=random, dtype=torch.uint8)
    palette = torch.randint(0, 256, (6, 3), generator=random, dtype=torch.uint8)
    labels = nearest(images, palette)
    for n in range(2):
        for y in range(5):
            for x in range(7):
                pixel = images[n, :, y, x].tolist()
                distances = [sum((a - b) ** 2 for a, b in zip(pixel, colour, strict=True)) for colour in palette.tolist()]
                assert labels[n, y, x] == distances.index(min(distances))
    counted, covered = palette_of(images)
    assert {tuple(colour) for colour in counted.tolist()} == {tuple(p) for p in images.permute(0, 2, 3, 1).reshape(-1, 3).tolist()}
    assert covered == pytest.approx(1)


def test_photographs_are_not_label_maps():
    photos = streets(8)
    grey = photos.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for other in (photos.flip(0), grey):
        with pytest.raises(
            DataError, match=r"at most 64 that cover more than 99% of the pixels, and in A \d+ colours .*; in B \d+ colours"
        ):
            labelled_pairs(Tensors(A=photos, B=other), 8)


def test_data_without_pairs_is_refused():
    with pytest.raises(DataError, match="miou_small trains on pairs of images: this data has A"):
        labelled_pairs(Tensors(A=streets(2, 16)), 8)

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gcc.data.demo import scenes as module
from gcc.data.demo.scenes import PIXELS, Scenes, _rendered
from gcc.data.demo.scenes.views import VIEWS, Picture, render
from gcc.data.images import BICUBIC, to_image, to_tensor
from gcc.errors import DataError


def recipe(size=48, scale=4):
    return SimpleNamespace(size=size, scale=scale)


@pytest.fixture(scope="module")
def scenes():
    return Scenes(None, "train", recipe())


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_samples(scale):
    source = Scenes(None, "val", recipe(48, scale))
    sample = source.sample(0, None)
    assert sample["hr"].shape == (3, 48, 48) and sample["lr"].shape == (3, 48 // scale, 48 // scale)
    assert torch.equal(sample["lr"], to_tensor(to_image(sample["hr"]).resize((48 // scale, 48 // scale), BICUBIC)))
    assert all(image.dtype == torch.float32 and image.abs().max() <= 1 for image in sample.values())
    assert len(source) == 20 and len(Scenes(None, "train", recipe())) == 200 and source.check() == []


def test_the_same_index_gives_the_same_scene(scenes):
    first = {index: scenes.sample(index, None)["hr"] for index in (2, 5)}
    _rendered.cache_clear()
    for index in (5, 2):
        assert scenes.sample(index, None)["hr"].equal(first[index])
    assert not first[2].equal(first[5]) and not Scenes(None, "val", recipe()).sample(2, None)["hr"].equal(first[2])


def test_without_augmentation_it_is_the_middle(scenes):
    whole = Scenes(None, "train", recipe(PIXELS)).sample(0, None)["hr"]
    assert whole.shape == (3, PIXELS, PIXELS) and scenes.sample(0, None)["hr"].equal(whole[:, 56:104, 56:104])


def test_a_crop_and_a_mirror_are_the_only_augmentation():
    source = Scenes(None, "train", recipe(PIXELS - 4))
    whole = Scenes(None, "train", recipe(PIXELS)).sample(1, None)["hr"]
    side = PIXELS - 4
    crops = {(top, left): whole[:, top : top + side, left : left + side] for top in range(5) for left in range(5)}
    drawn = set()
    for seed in range(40):
        image = source.sample(1, np.random.default_rng(seed))["hr"]
        drawn |= {(*corner, mirror) for corner, crop in crops.items() for mirror in (0, 1) if image.equal(crop.flip(2) if mirror else crop)}
        assert source.sample(1, np.random.default_rng(seed))["hr"].equal(image)
    assert [{corner[axis] for corner in drawn} for axis in range(3)] == [set(range(5)), set(range(5)), {0, 1}]


@pytest.mark.parametrize("size", [8, 168])
def test_other_sizes(size):
    assert Scenes(None, "test", recipe(size, 8)).sample(0, None)["hr"].shape == (3, size, size)


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_paints_the_whole_picture_within_reach_of_light(view):
    for seed in range(4):
        picture = Picture.blank(64)
        picture.colour[:] = np.nan
        view(picture, np.random.default_rng(seed))
        assert np.isfinite(picture.colour).all() and -0.5 < picture.colour.min() and picture.colour.max() < 2.5


def test_there_is_detail_to_restore():
    """What bicubic enlargement by 4 leaves out of the scenes is 20 to 30 dB below white, as in photographs."""
    errors = []
    for seed in range(12):
        image = Image.fromarray(render(PIXELS, np.random.default_rng(seed)))
        enlarged = image.resize((PIXELS // 4, PIXELS // 4), BICUBIC).resize(image.size, BICUBIC)
        errors.append(np.mean((np.asarray(image, dtype=float) - np.asarray(enlarged, dtype=float)) ** 2) / 255**2)
    assert 20 < np.mean(-10 * np.log10(errors)) < 30


def test_rendered_once(scenes, monkeypatch):
    rendered = []
    monkeypatch.setattr(module, "render", lambda *args: (rendered.append(args), render(*args))[1])
    _rendered.cache_clear()
    for seed in range(3):
        scenes.sample(7, np.random.default_rng(seed))
    assert len(rendered) == 1


def test_no_folder_is_read(tmp_path):
    assert not Scenes.matches(tmp_path)
    with pytest.raises(DataError, match=f"reads no folder, but {tmp_path} was given"):
        Scenes(tmp_path, "train", recipe())

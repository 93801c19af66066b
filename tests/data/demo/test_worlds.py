from dataclasses import replace

import numpy as np
import pytest
import torch

from gcc.data.demo import worlds as module
from gcc.data.demo.worlds import Worlds, _rendered
from gcc.data.demo.worlds.render import SAVANNAH, SUMMER, render
from gcc.data.demo.worlds.scene import draw_scene
from gcc.errors import DataError
from tests.helpers.pairs import recipe


@pytest.fixture(scope="module")
def worlds():
    return Worlds(None, "train", recipe(32))


def edges(image):
    """Return how much neighbouring pixels differ from left to right in brightness."""
    return np.abs(np.diff(image.astype(float).mean(2), axis=1)).mean()


def test_samples(worlds):
    sample = worlds.sample(0, None)
    assert set(sample) == {"A", "B"} and worlds.samples == "unpaired"
    assert all(image.shape == (3, 32, 32) and image.dtype == torch.float32 and image.abs().max() <= 1 for image in sample.values())
    assert len(worlds) == 400 and worlds.check() == []


def test_the_same_index_gives_the_same_images(worlds):
    first = {index: worlds.sample(index, None) for index in (2, 5)}
    _rendered.cache_clear()
    for index in (5, 2):
        assert all(worlds.sample(index, None)[side].equal(image) for side, image in first[index].items())


def test_splits_indices_and_worlds_show_different_scenes(worlds, monkeypatch):
    scenes = []
    monkeypatch.setattr(module, "render", lambda scene, world, size: (scenes.append(scene), render(scene, world, size))[1])
    _rendered.cache_clear()
    for split in Worlds.sizes:
        for index in range(3):
            Worlds(None, split, recipe(8)).sample(index, None)
    assert len(set(scenes)) == len(scenes) == 18


def test_a_scene_is_the_same_at_every_size(worlds):
    large = Worlds(None, "train", recipe(128))
    for index in range(4):
        for side, image in worlds.sample(index, None).items():
            coarse = torch.nn.functional.avg_pool2d(large.sample(index, None)[side], 4)
            assert (coarse - image).abs().mean() < 0.06


@pytest.mark.parametrize("size", [1, 2, 3, 17, 300])
def test_odd_sizes(size):
    assert all(image.shape == (3, size, size) for image in Worlds(None, "test", recipe(size)).sample(0, None).values())


def test_the_worlds_differ_in_colour(worlds):
    """A line through the mean colours tells every image of A from every image of B."""
    a, b = (torch.stack([worlds.sample(index, None)[side].mean((1, 2)) for index in range(40)]) for side in "AB")
    axis = b.mean(0) - a.mean(0)
    assert (a @ axis).max() < (b @ axis).min()


def test_the_worlds_differ_in_texture():
    """A scene has more edges in the world of stripes, because the animals have stripes there."""
    bare = replace(SAVANNAH, skins=SUMMER.skins)
    for seed in range(8):
        scene = draw_scene(np.random.default_rng(seed))
        striped, summer, savannah = (edges(render(scene, world, 64)) for world in (SAVANNAH, SUMMER, bare))
        assert striped > 1.5 * max(summer, savannah)


def test_any_b_is_drawn_and_each_side_has_a_mirror_of_its_own():
    worlds = Worlds(None, "val", recipe(8))
    plain = [worlds.sample(index, None) for index in range(len(worlds))]
    partners, mirrors = set(), set()
    for seed in range(24):
        sample = worlds.sample(3, np.random.default_rng(seed))
        (partner,) = [n for n, other in enumerate(plain) if any(sample["B"].equal(image) for image in (other["B"], other["B"].flip(2)))]
        assert any(sample["A"].equal(image) for image in (plain[3]["A"], plain[3]["A"].flip(2)))
        partners.add(partner)
        mirrors.add((sample["A"].equal(plain[3]["A"]), sample["B"].equal(plain[partner]["B"])))
    assert len(partners) > 12 and len(mirrors) == 4


def test_rendered_once(worlds, monkeypatch):
    rendered = []
    monkeypatch.setattr(module, "render", lambda *args: (rendered.append(args), render(*args))[1])
    _rendered.cache_clear()
    for _ in range(3):
        worlds.sample(7, None)
    assert len(rendered) == 2


def test_no_folder_is_read(tmp_path):
    assert not Worlds.matches(tmp_path)
    with pytest.raises(DataError, match=f"reads no folder, but {tmp_path} was given"):
        Worlds(tmp_path, "train", recipe())

"""Samples have degraded inputs, which a seed or the index decides."""

import numpy as np
import pytest
import torch
from gcc_esrgan import RealPhotographs, RealScenes
from PIL import Image

from gcc.data.demo.scenes import Scenes
from gcc.data.open import open_source
from gcc.data.photographs import Photographs
from gcc.models.tasks import SuperResolutionRecipe

RECIPE = SuperResolutionRecipe(size=32, scale=4)


@pytest.fixture
def photographs(tmp_path):
    """Return a folder with 12 photographs of 48x40 pixels."""
    random = np.random.default_rng(0)
    for number in range(12):
        Image.fromarray(random.integers(256, size=(40, 48, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return tmp_path


def opened(root, split, dataset):
    return open_source(root, "super-resolution", split, RECIPE, "scenes", dataset)


def test_photographs_are_degraded_by_name_only(photographs):
    assert type(opened(photographs, "train", None)) is Photographs
    plain, source = (opened(photographs, "train", name) for name in ("photographs", "real-photographs"))
    assert type(source) is RealPhotographs and source.files == plain.files
    for sample, usual in (
        (source.sample(1, np.random.default_rng(5)), plain.sample(1, np.random.default_rng(5))),
        (source.preview(1), plain.preview(1)),
    ):
        assert torch.equal(sample["hr"], usual["hr"]) and sample["lr"].shape == usual["lr"].shape == (3, 8, 8)
        assert not torch.equal(sample["lr"], usual["lr"])
        assert sample["lr"].abs().max() <= 1


@pytest.mark.parametrize("source", [lambda root: opened(root, "val", "real-photographs"), lambda _: RealScenes(None, "val", RECIPE)])
def test_a_seed_or_the_index_decides_the_degradations(source, photographs):
    source = source(photographs)
    fixed, again = (source.sample(0, None)["lr"] for _ in range(2))
    seeded = [source.sample(0, np.random.default_rng(seed))["lr"] for seed in (1, 1, 2)]
    assert torch.equal(fixed, again) and torch.equal(seeded[0], seeded[1]) and not torch.equal(seeded[0], seeded[2])


def test_decoded_images_give_the_same_samples(photographs):
    source = opened(photographs, "train", "real-photographs")
    cached = source.cached(photographs / "cache")
    assert cached.cache is not None and torch.equal(cached.sample(2, None)["lr"], source.sample(2, None)["lr"])


def test_generated_pictures_are_degraded():
    sample, usual = (source(None, "test", RECIPE).sample(0, None) for source in (RealScenes, Scenes))
    assert torch.equal(sample["hr"], usual["hr"]) and not torch.equal(sample["lr"], usual["lr"])

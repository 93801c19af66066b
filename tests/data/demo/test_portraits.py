import numpy as np
import pytest
import torch

from gcc.data.demo import portraits as module
from gcc.data.demo.portraits import Portraits, _rendered, draw_portrait, scene
from gcc.data.demo.portraits.blobs import render
from gcc.errors import DataError
from tests.helpers.pairs import recipe


@pytest.fixture(scope="module")
def portraits():
    return Portraits(None, "train", recipe(32))


def test_samples(portraits):
    sample = portraits.sample(0, None)
    assert set(sample) == {"real"} and len(portraits) == 800 and portraits.check() == []
    assert sample["real"].shape == (3, 32, 32) and sample["real"].dtype == torch.float32 and sample["real"].abs().max() <= 1
    assert len(Portraits(None, "val", recipe())) == len(Portraits(None, "test", recipe())) == 80


def test_the_same_index_gives_the_same_portrait(portraits):
    first = {index: portraits.sample(index, None)["real"] for index in (2, 5)}
    _rendered.cache_clear()
    assert all(portraits.sample(index, None)["real"].equal(first[index]) for index in (5, 2))


def test_the_portrait_is_the_same_at_every_size(portraits):
    large, middle = Portraits(None, "train", recipe(256)), Portraits(None, "train", recipe(64))
    for index in range(6):
        image = large.sample(index, None)["real"]
        for source, factor in ((portraits, 8), (middle, 4)):
            coarse = torch.nn.functional.avg_pool2d(image, factor)
            assert (coarse - source.sample(index, None)["real"]).abs().mean() < 0.015


@pytest.mark.parametrize("size", [1, 2, 3, 17, 65, 150])
def test_odd_sizes(size):
    assert Portraits(None, "test", recipe(size)).sample(0, None)["real"].shape == (3, size, size)


def test_portraits_vary_and_splits_differ(portraits):
    images = [Portraits(None, split, recipe(32)).sample(index, None)["real"] for split in ("train", "val", "test") for index in range(30)]
    apart = torch.cdist(torch.stack(images).flatten(1)[None], torch.stack(images).flatten(1)[None], p=1)[0] / images[0].numel()
    assert (apart + torch.eye(len(images))).min() > 0.05


def test_every_style_is_drawn(monkeypatch):
    drawn, styles = scene._person, set()
    monkeypatch.setattr(scene, "_person", lambda random: (person := drawn(random), styles.add(person.style))[0])
    for index in range(80):
        draw_portrait(np.random.default_rng(index))
    assert styles == {*scene.STYLES, *scene.FEMININE_STYLES}


def test_faces_are_centred(portraits):
    """The mean portrait has a face's colours, more red than blue, in the middle, and is nearly symmetric."""
    mean = torch.stack([portraits.sample(index, None)["real"] for index in range(120)]).mean(0)
    middle = mean[:, 12:24, 12:20]
    assert middle[0].mean() - middle[2].mean() > 0.3 > (mean[0, :6].mean() - mean[2, :6].mean()).abs()
    assert (mean - mean.flip(2)).abs().mean() < 0.05


def test_the_mirror_is_the_only_augmentation(portraits):
    plain, kinds = portraits.sample(0, None)["real"], set()
    for seed in range(12):
        image = portraits.sample(0, np.random.default_rng(seed))["real"]
        kinds.add(image.equal(plain))
        assert image.equal(plain) or image.equal(plain.flip(2))
    assert kinds == {False, True}


def test_rendered_once(portraits, monkeypatch):
    rendered = []
    monkeypatch.setattr(module, "render", lambda *args: (rendered.append(args), render(*args))[1])
    _rendered.cache_clear()
    for _ in range(3):
        portraits.sample(7, None)
    assert len(rendered) == 1


def test_no_folder_is_read(tmp_path):
    assert not Portraits.matches(tmp_path)
    with pytest.raises(DataError, match=f"reads no folder, but {tmp_path} was given"):
        Portraits(tmp_path, "train", recipe())

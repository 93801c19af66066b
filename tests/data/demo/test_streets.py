import numpy as np
import pytest
import torch

from gcc.data.demo import streets as module
from gcc.data.demo.streets import COLOURS, Streets, _rendered
from gcc.data.demo.streets.render import render
from gcc.errors import DataError
from tests.helpers.pairs import recipe


@pytest.fixture(scope="module")
def streets():
    return Streets(None, "train", recipe(32))


def labels_of(streets, index):
    return _rendered(streets.split, index, streets.size)[1]


def test_samples(streets):
    sample = streets.sample(0, None)
    assert set(sample) == {"A", "B"}
    assert all(image.shape == (3, 32, 32) and image.dtype == torch.float32 and image.abs().max() <= 1 for image in sample.values())
    assert len(streets) == 400 and streets.check() == []


def test_labels_are_the_colours_of_the_label_map(streets):
    labels = labels_of(streets, 3)
    assert labels.shape == (32, 32) and labels.dtype == np.uint8
    colours = ((streets.sample(3, None)["A"] + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8)
    assert np.array_equal(np.array(COLOURS, dtype=np.uint8)[labels], colours)


def test_every_class_is_to_be_seen(streets):
    counts = np.bincount(np.concatenate([labels_of(streets, index).ravel() for index in range(30)]), minlength=len(COLOURS))
    assert len(counts) == len(COLOURS) and (counts > 0).all()


def test_the_same_index_gives_the_same_street(streets):
    first = {index: streets.sample(index, None) for index in (2, 5)}
    _rendered.cache_clear()
    for index in (5, 2):
        assert all(streets.sample(index, None)[key].equal(image) for key, image in first[index].items())


def test_splits_and_indices_differ(streets):
    val = Streets(None, "val", recipe(32))
    assert not val.sample(0, None)["B"].equal(streets.sample(0, None)["B"])
    assert not streets.sample(1, None)["B"].equal(streets.sample(0, None)["B"])


def test_the_street_is_the_same_at_every_size(streets):
    large = Streets(None, "train", recipe(128))
    for index in range(3):
        coarse = torch.nn.functional.avg_pool2d(large.sample(index, None)["B"], 4)
        assert (coarse - streets.sample(index, None)["B"]).abs().mean() < 0.06


@pytest.mark.parametrize("size", [1, 2, 3, 17, 300])
def test_odd_sizes(size):
    assert Streets(None, "test", recipe(size)).sample(0, None)["B"].shape == (3, size, size)


def test_the_mirror_is_the_only_augmentation(streets):
    plain = streets.sample(0, None)
    kinds = set()
    for seed in range(12):
        sample = streets.sample(0, np.random.default_rng(seed))
        mirrored = not sample["A"].equal(plain["A"])
        kinds.add(mirrored)
        for key, image in plain.items():
            assert sample[key].equal(image.flip(2) if mirrored else image)
    assert kinds == {False, True}


def test_photographs_follow_from_labels(streets):
    """The mean colour of each class explains more than half of the variance."""
    photos = np.stack([streets.sample(index, None)["B"].permute(1, 2, 0).numpy() for index in range(60)])
    labels = np.stack([labels_of(streets, index) for index in range(60)])
    class_means = np.stack([photos[labels == number].mean(0) for number in range(len(COLOURS))])[labels]
    assert ((photos - class_means) ** 2).mean() < 0.5 * photos.reshape(-1, 3).var(0).mean()


def test_rendered_once(streets, monkeypatch):
    rendered = []
    monkeypatch.setattr(module, "render", lambda *args: (rendered.append(args), render(*args))[1])
    _rendered.cache_clear()
    for _ in range(3):
        streets.sample(7, None)
    assert len(rendered) == 1


def test_no_folder_is_read(tmp_path):
    assert not Streets.matches(tmp_path)
    with pytest.raises(DataError, match=f"reads no folder, but {tmp_path} was given"):
        Streets(tmp_path, "train", recipe())

"""A user's own datasets and data loaders as the data of a run."""

import random

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
)
from torch.utils.data.distributed import DistributedSampler

from gcc import Compressor, Teacher, Trainer
from gcc.data.torch_datasets import TorchDatasets
from gcc.errors import DataError, GccError
from gcc.models.pix2pix import Pix2Pix
from gcc.models.sagan import SAGAN
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES
from tests.helpers.families import TINY

ARCHITECTURE = Pix2Pix(changed(Pix2Pix.demo(), {"size": 32}))


def image(number, size=32):
    return torch.linspace(-1, 1, 3 * size * size).roll(number * 7).view(3, size, size)


class Pairs(Dataset):
    """Pairs whose augmentation is drawn from every global generator, as users write it."""

    def __init__(self, count=20, size=32):
        self.count, self.size = count, size

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        shift = int(torch.randint(100, ())) + random.randrange(100) + np.random.randint(100)
        return image(index + shift, self.size), image(index + shift + 1, self.size)


class Items(list):
    """A dataset of given items."""


def opened(data, split="train", architecture=ARCHITECTURE):
    return TorchDatasets(data).bind(architecture).open(split)


def test_a_sample_depends_on_index_and_seed_alone():
    source = opened(Pairs())
    states = torch.get_rng_state(), random.getstate()
    first = source.sample(3, np.random.default_rng(1))
    assert torch.equal(torch.get_rng_state(), states[0]) and random.getstate() == states[1]
    torch.manual_seed(5)
    random.seed(5)
    np.random.seed(5)
    again, other = source.sample(3, np.random.default_rng(1)), source.sample(3, np.random.default_rng(2))
    assert first.keys() == {"A", "B"} and all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["A"], other["A"])
    assert torch.equal(source.sample(3, None)["A"], source.sample(3, None)["A"])


def test_dicts_tuples_and_single_images_are_samples():
    a, b = image(1), image(2)
    for item in ({"A": a, "B": b, "A_paths": "a.png"}, (a, b), [a, b]):
        sample = opened(Items([item] * 3)).sample(0, None)
        assert torch.equal(sample["A"], a) and torch.equal(sample["B"], b)
    sagan = SAGAN(changed(SAGAN.demo(), {"size": 32}))
    for item in (a, (a, 7), {"real": a}):
        sample = opened(Items([item] * 3), architecture=sagan).sample(0, None)
        assert sample.keys() == {"real"} and torch.equal(sample["real"], a)
    assert opened(Items([(a.double(), b.half())] * 2)).sample(0, None)["A"].dtype == torch.float32


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ((image(1), image(1, 16)), "B in item 1 of the train dataset Items is 3x16x16 of float32: expected 3x32x32; give size=16"),
        ((image(1)[:1], image(1)), "A in item 1 .* is 1x32x32 of float32: expected 3x32x32"),
        (
            (image(1) * 127.5 + 127.5, image(1)),
            r"A in item 1 .* from 0 to 255: expected images from -1 to 1; transforms.Normalize\(0.5, 0.5\)",
        ),
        (
            ((image(1) * 127.5 + 127.5).byte(), image(1)),
            "A in item 1 .* is 3x32x32 of uint8: expected a tensor \\(C, H, W\\) of floating-point numbers",
        ),
        ((image(1) * float("nan"), image(1)), "A in item 1 .* has values that are not finite: correct it, or leave it out"),
        (image(1), "item 1 .* is 3x32x32 of float32: expected a dict of 'A', 'B', or a tuple in that order"),
        ({"image": image(1)}, "item 1 .* is a dict of 'image': expected a dict of 'A', 'B'"),
        ((np.zeros((3, 32, 32)), image(1)), "A in item 1 .* is of type ndarray: expected"),
        (None, "item 1 .* is of type NoneType"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(item, message):
    source = opened({"train": Items([(image(1), image(2)), item]), "test": Pairs()})
    with pytest.raises(DataError, match=message) as refused:
        source.sample(1, None)
    assert "\n" not in str(refused.value)
    ((index, reason),) = source.check()
    assert index == 1 and reason == str(refused.value)
    assert len(source.drop({1})) == 1


@pytest.mark.parametrize(
    ("arch", "item", "ending"),
    [
        ("pix2pix", {"A": torch.zeros(3, 16, 64), "B": torch.zeros(3, 16, 64)}, "expected 3x32x32; give size=64x16, or resize the images"),
        ("sagan", {"real": torch.zeros(3, 16, 64)}, "expected 3x32x32; resize the images"),
        ("srgan", {"hr": torch.zeros(3, 64, 64), "lr": torch.zeros(3, 8, 8)}, "expected 3x32x32; give size=64, or resize the images"),
        ("srgan", {"hr": torch.zeros(3, 32, 32), "lr": torch.zeros(3, 16, 16)}, "expected 3x8x8; resize the images"),
    ],
)
def test_the_size_that_is_suggested_fits(arch, item, ending):
    family = ARCHITECTURES.load(arch)
    source = opened(Items([item] * 3), architecture=family(changed(family.demo(), {"size": 32})))
    with pytest.raises(DataError, match=f"{ending}$"):
        source.sample(0, None)


def test_the_first_of_items_that_are_all_bad_is_named_without_skipping():
    items = Items([(image(1), image(1, 16))] * 12)
    with pytest.raises(
        DataError, match="^none of the 12 items of the train dataset Items can be used; the first: B in item 0 .*"
    ) as refused:
        opened({"train": items, "test": Pairs()}).check()
    assert "skip_bad" not in str(refused.value) and "item 1 " not in str(refused.value)


def test_images_from_0_to_1_are_refused():
    source = opened(Items([(image(number).abs(), image(number)) for number in range(4)]))
    with pytest.raises(DataError, match="A has no value below 0 in the train dataset Items: expected images from -1 to 1"):
        source.check()


def test_bright_images_of_a_small_split_are_taken_if_the_training_images_have_dark_ones():
    bright, dark = (image(1).abs(), image(2).abs()), (image(3), image(4))
    for data in ({"train": Items([bright, dark]), "val": Items([bright]), "test": Items([bright])}, Items([bright, *[dark] * 9])):
        splits = TorchDatasets(data).bind(ARCHITECTURE)
        assert [splits.open(split).check() for split in ("train", "val", "test")] == [[], [], []]
    splits = TorchDatasets({"train": Items([bright, None]), "test": Items([dark])}).bind(ARCHITECTURE)
    with pytest.raises(DataError, match="A has no value below 0 in the train dataset Items"):
        splits.open("train").check()


def test_an_error_in_the_users_code_names_its_line():
    class Broken(Pairs):
        def __getitem__(self, index):
            raise KeyError("angle")

    with pytest.raises(
        DataError, match=r"item 1 of the train dataset Broken cannot be read: KeyError: 'angle' \(test_torch_datasets.py, line \d+\)"
    ):
        opened(Broken()).sample(0, None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (5, "data is of type int: expected a folder, or a dataset with __getitem__ and __len__"),
        ({"test": Pairs()}, "data with the splits test: expected 'train', and optionally 'val' and 'test'"),
        ({"train": Pairs(), "dev": Pairs()}, "splits train, dev"),
        (Pairs(1), "has 1 item: expected 2 or more"),
        (DataLoader(Pairs(), collate_fn=list), "its own sampler or collate_fn"),
        (DataLoader(Pairs(), sampler=WeightedRandomSampler([1.0] * 20, 20)), "its own sampler or collate_fn"),
    ],
)
def test_data_of_other_kinds_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        TorchDatasets(data)


def loader_of(sampler, **options):
    return DataLoader(Pairs(20), sampler=sampler, **options)


def in_batches(sampler):
    return DataLoader(Pairs(20), batch_sampler=BatchSampler(sampler, 4, drop_last=False))


@pytest.mark.parametrize("loader", [loader_of, in_batches])
@pytest.mark.parametrize(
    ("sampler", "takes_every_item_once"),
    [
        (SequentialSampler(Pairs(20)), True),
        (RandomSampler(Pairs(20)), True),
        (DistributedSampler(Pairs(20), num_replicas=2, rank=0), True),
        (WeightedRandomSampler([1.0] * 20, 20), False),
        (SubsetRandomSampler(range(20)), False),
        (SequentialSampler(range(5)), False),
        (RandomSampler(range(5)), False),
        (RandomSampler(range(5), num_samples=20), False),
        (RandomSampler(Pairs(20), num_samples=5), False),
        (RandomSampler(Pairs(20), replacement=True), False),
        (RandomSampler(Pairs(20), replacement=True, num_samples=5), False),
        (DistributedSampler(Pairs(5), num_replicas=2, rank=0), False),
        (list(range(20)), False),
    ],
)
def test_a_loader_that_does_not_take_every_item_once_is_refused(loader, sampler, takes_every_item_once):
    if takes_every_item_once:
        assert TorchDatasets(loader(sampler)).options["workers"] == 0
    else:
        with pytest.raises(DataError, match="has its own sampler or collate_fn, which a run cannot resume"):
            TorchDatasets(loader(sampler))


def test_the_batch_size_of_a_loader_is_that_of_its_batch_sampler():
    assert TorchDatasets(loader_of(None, batch_size=3, shuffle=True)).options == {"batch_size": 3, "workers": 0}
    assert TorchDatasets(in_batches(RandomSampler(Pairs(20)))).options == {"batch_size": 4, "workers": 0}
    assert TorchDatasets(loader_of(None, batch_size=None, collate_fn=default_collate)).options == {"workers": 0}


def test_data_that_cannot_be_indexed_are_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(())

    for data in (Stream(), DataLoader(Stream())):
        with pytest.raises(DataError, match="data is of type Stream: expected a folder, or a dataset with __getitem__ and __len__"):
            TorchDatasets(data)


def test_missing_splits_are_replaced():
    splits = TorchDatasets(Pairs(20)).bind(ARCHITECTURE)
    assert [len(splits.open(split)) for split in ("train", "val", "test")] == [18, 2, 2]
    assert "every tenth item serves as test (2 of 20)" in splits.open("test").note and not splits.open("train").note
    splits = TorchDatasets({"train": Pairs(20), "test": Pairs(4)}).bind(ARCHITECTURE)
    assert [len(splits.open(split)) for split in ("train", "val", "test")] == [20, 4, 4]
    assert splits.open("val").note and not splits.open("test").note


def test_a_loader_brings_its_batch_size_and_workers():
    loader = DataLoader(TensorDataset(*(torch.stack([image(number) for number in range(20)]),) * 2), batch_size=4, shuffle=True)
    settings = {name: value for name, value in TINY["pix2pix"].items() if name != "batch_size"}
    run = Compressor(Teacher.create("pix2pix"), loader, device="cpu", **settings)
    assert run.recipe.batch_size == 4 and len(run.context.data.train) == 18
    assert Compressor(Teacher.create("pix2pix"), loader, device="cpu", **settings, batch_size=2).recipe.batch_size == 2
    with pytest.raises(GccError, match="leave dataset out"):
        Compressor(Teacher.create("pix2pix"), loader, dataset="aligned")


def test_a_run_resumes_bit_equal():
    def run():
        return Trainer(Teacher.create("pix2pix"), {"train": Pairs(40), "test": Pairs(4)}, device="cpu", evaluators="l1", **TINY["pix2pix"])

    whole, stopped, resumed = run(), run(), run()
    whole.check()
    *_, last = whole.steps()
    for step in stopped.steps():
        if step.number == 3:
            checkpoint = stopped.checkpoint(step)
            break
    resumed.resume(checkpoint)
    *_, again = resumed.steps()
    assert last.values() == again.values()
    first, second = (one.result().pairs["teacher"].networks()["G"].state_dict() for one in (whole, resumed))
    assert all(torch.equal(first[name], second[name]) for name in first)

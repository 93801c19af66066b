"""A user's own `torch.utils.data.Dataset` or `DataLoader` as the data of a run."""

from __future__ import annotations

import random as python_random
import traceback
from collections.abc import Collection, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler, default_collate
from torch.utils.data.distributed import DistributedSampler

from gcc.data.hold_out import EVERY, SPLITS
from gcc.errors import DataError, first_line
from gcc.recipe import Recipe, data_range, image_size, text_of_size
from gcc.registry import Architecture, DatasetSource
from gcc.utils.seeds import random_states, restore_random
from gcc.utils.units import counted, shape_text

UserData = Dataset[Any] | DataLoader[Any] | Mapping[str, Dataset[Any] | DataLoader[Any]]
"""What a user may give in place of a folder: a map-style dataset, a data loader, or these by split (`train`, `val`, `test`)."""
LARGEST = 1.2
"""Largest absolute value of an image in [-1, 1] that was resized with bicubic interpolation, which overshoots; it is clamped."""
NORMALISE = "transforms.Normalize(0.5, 0.5) after ToTensor does that"
CPU = torch.device("cpu")


class TorchDatasets:
    """The splits of a user's data, opened like those of a folder.

    A split that is missing is replaced as in a folder: `val` and `test` serve as each other, and if both are missing, every tenth item of
    `train` is held out for them.

    Attributes:
        name: the data, for messages.
        options: the `batch_size` and the `workers` of the training data loader; empty for a dataset.

    Args:
        data: a dataset, a data loader, or these by split.

    Raises:
        DataError: the data are of another type, cannot be indexed, or a loader orders or collates its samples in a way of its own.
    """

    def __init__(self, data: UserData) -> None:
        given = dict(data) if isinstance(data, Mapping) else {"train": data}
        if "train" not in given or not given.keys() <= set(SPLITS):
            raise DataError(
                f"data with the splits {', '.join(map(str, given)) or 'none'}: expected 'train', and optionally 'val' and 'test'"
            )
        self._datasets = {split: _map_style(dataset) for split, dataset in given.items()}
        train = given["train"]
        self.name = type(self._datasets["train"]).__name__
        self.options: dict[str, Any] = {}
        if isinstance(train, DataLoader):
            self.options = _loader_options(train)
        least = 1 if len(given) > 1 else 2
        for split, dataset in self._datasets.items():
            if len(dataset) < least:
                items = counted(len(dataset), "item")
                raise DataError(f"the {split} dataset {type(dataset).__name__} has {items}: expected {least} or more")

    def bind(self, architecture: Architecture[Any]) -> TorchSplits:
        """Return the splits with the samples that a family needs."""
        return TorchSplits(self._datasets, self.name, architecture)


class TorchSplits:
    """The splits of a user's data as one family needs them.

    Attributes:
        name: the data, for messages.
        store: None, since nothing is computed into a folder.

    Args:
        datasets: the map-style datasets by split.
        name: the data, for messages.
        architecture: the GAN family, bound to its recipe.
    """

    store: Path | None = None

    def __init__(self, datasets: Mapping[str, Any], name: str, architecture: Architecture[Any]) -> None:
        if data_range(architecture.recipe):
            raise DataError("your own datasets return values from -1 to 1, whatever their files have: leave `range` out")
        self.name = name
        self._datasets = datasets
        self._recipe = architecture.recipe
        batch = architecture.example_batch()
        self._example = {key: tensor[0] for key, tensor in batch.items() if not (key == "z" and architecture.takes_noise)}

    def open(self, split: str) -> TorchSource:
        """Open `train`, `val` or `test`."""
        origin, note = split, ""
        if split not in self._datasets:
            origin = next(iter(self._datasets.keys() - {"train"}), "train")
            note = f"the data has no {split} split: {origin} serves as {split}"
        dataset = self._datasets[origin]
        indices: Sequence[int] = range(len(dataset))
        if len(self._datasets) == 1:
            held_out, rest = indices[::EVERY], [index for index in indices if index % EVERY]
            note = f"the data has neither val nor test: every tenth item serves as {split} ({len(held_out)} of {len(indices)})"
            indices, note = (rest, "") if split == "train" else (held_out, note)
        kind = TorchTrainingSource if split == "train" else TorchSource
        return kind(dataset, self._example, self._recipe, indices, f"{origin} dataset {type(dataset).__name__}", note)


class TorchSource(DatasetSource):
    """The samples of a user's map-style dataset.

    An item is a dict with the family's keys, or a tuple of its tensors in their order. For a family of one image, an item may also be the
    image itself, or a tuple that begins with it, such as (image, class).

    The global random generators of torch, NumPy and Python are seeded for every item, and restored afterwards, so that an item that draws
    its augmentation from them depends on its index, the seed and the epoch only.

    Args:
        dataset: the dataset.
        example: tensors with the shapes and types of a sample, by key.
        recipe: the recipe that they follow.
        indices: the items of the split.
        title: the split and the dataset, for messages.
        note: says which other split is used in place of this one.
    """

    def __init__(
        self, dataset: Any, example: Mapping[str, Tensor], recipe: Recipe, indices: Sequence[int], title: str, note: str = ""
    ) -> None:
        self.note = note
        self._dataset = dataset
        self._example = example
        self._recipe = recipe
        self._indices = indices
        self._title = title

    @classmethod
    def matches(cls, root: Path) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._indices)

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        number = self._indices[index]
        with _seeded(np.random.default_rng(index) if random is None else random):
            try:
                item = self._dataset[number]
            except Exception as error:  # It runs the user's code, which may raise anything.
                raise DataError(f"item {number} of the {self._title} cannot be read: {_located(error)}") from error
        tensors = self._tensors(item, number)
        return {key: self._checked(key, tensors[key], number) for key in self._example}

    def check(self) -> list[tuple[int, str]]:
        bad: list[tuple[int, str]] = []
        for index in range(len(self)):
            try:
                self.sample(index, None)
            except DataError as error:
                bad.append((index, str(error)))
        if len(bad) == len(self) > 1:
            raise DataError(f"none of the {len(self)} items of the {self._title} can be used; the first: {bad[0][1]}")
        return bad

    def drop(self, bad: Collection[int]) -> Self:
        indices = [number for index, number in enumerate(self._indices) if index not in bad]
        if not indices:
            raise DataError(f"the {self._title} has no item that can be used")
        return type(self)(self._dataset, self._example, self._recipe, indices, self._title, self.note)

    def _tensors(self, item: Any, number: int) -> Mapping[str, Any]:
        """Return the values of an item by the family's keys."""
        keys = list(self._example)
        if isinstance(item, Mapping) and item.keys() >= self._example.keys():
            return item
        if isinstance(item, Sequence) and not isinstance(item, str) and (len(item) == len(keys) or (len(keys) == 1 and item)):
            return dict(zip(keys, item, strict=False))
        if isinstance(item, Tensor) and len(keys) == 1:
            return {keys[0]: item}
        names = ", ".join(map(repr, keys))
        found = f"a dict of {', '.join(map(repr, item))}" if isinstance(item, Mapping) else _described(item)
        raise DataError(f"item {number} of the {self._title} is {found}: expected a dict of {names}, or a tuple in that order")

    def _checked(self, key: str, value: Any, number: int) -> Tensor:
        """Return a value with the type of the example."""
        what, example = f"{key} in item {number} of the {self._title}", self._example[key]
        if not isinstance(value, Tensor) or value.is_floating_point() != example.is_floating_point():
            wanted = (
                f"a tensor (C, H, W) of floating-point numbers from -1 to 1; {NORMALISE}"
                if _is_image(example)
                else f"a tensor of {_type(example)}"
            )
            raise DataError(f"{what} is {_described(value)}: expected {wanted}")
        if value.shape != example.shape:
            raise DataError(f"{what} is {_described(value)}: expected {_shape(example)}{self._remedy(value, example)}")
        tensor: Tensor = value.detach().to("cpu", example.dtype)
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise DataError(f"{what} has values that are not finite: correct it, or leave it out with `skip_bad=True`")
        if not _is_image(example):
            return tensor
        low, high = (float(bound) for bound in torch.aminmax(tensor))
        if not (-LARGEST <= low and high <= LARGEST):
            raise DataError(f"{what} has values from {low:.4g} to {high:.4g}: expected images from -1 to 1; {NORMALISE}")
        return tensor.clamp(-1, 1)

    def _remedy(self, value: Tensor, example: Tensor) -> str:
        """Return how a value can be used that does not have the shape of the example; empty unless it is an image of another size."""
        if not (_is_image(value) and value.shape[0] == example.shape[0]):
            return ""
        height, width = value.shape[1:]
        has_recipes_size = tuple(example.shape[:0:-1]) == image_size(self._recipe)
        can_have_size = has_recipes_size and (width == height or hasattr(self._recipe, "image_width"))
        return f"; give size={text_of_size(width, height)}, or resize the images" if can_have_size else "; resize the images"


class TorchTrainingSource(TorchSource):
    """The training samples. They show the range of all splits: others may be so small that none of their images has a dark pixel."""

    def check(self) -> list[tuple[int, str]]:
        bad = super().check()
        usable = sorted(set(range(len(self))) - dict(bad).keys())
        for key in filter(lambda key: _is_image(self._example[key]), self._example):
            if usable and all((self.sample(index, None)[key] >= 0).all() for index in usable):
                raise DataError(f"{key} has no value below 0 in the {self._title}: expected images from -1 to 1; {NORMALISE}")
        return bad


def _map_style(data: Any) -> Any:
    """Return the dataset of a user's data; a loader's order and batches are the run's own."""
    dataset = data.dataset if isinstance(data, DataLoader) else data
    if (
        isinstance(dataset, IterableDataset)
        or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__"))
        or isinstance(dataset, str | bytes)
    ):
        raise DataError(
            f"data is {_described(dataset)}: expected a folder, or a dataset with __getitem__ and __len__, since runs shuffle and resume"
        )
    if isinstance(data, DataLoader) and not (_takes_every_item_once(data) and data.collate_fn is default_collate):
        raise DataError(
            f"the DataLoader of {type(dataset).__name__} has its own sampler or collate_fn, which a run cannot resume: give the dataset"
        )
    return dataset


def _takes_every_item_once(loader: DataLoader[Any]) -> bool:
    """Return whether an epoch of a loader is the whole dataset, in its order or shuffled, in batches of one size."""
    if type(loader.batch_sampler) not in (BatchSampler, type(None)):
        return False
    sampler: Any = loader.sampler if loader.batch_sampler is None else cast(BatchSampler, loader.batch_sampler).sampler
    count = len(cast(Sized, loader.dataset))
    if type(sampler) is RandomSampler:
        return not sampler.replacement and sampler.num_samples == len(sampler.data_source) == count
    if type(sampler) is SequentialSampler:
        return len(sampler.data_source) == count
    return type(sampler) is DistributedSampler and len(cast(Sized, sampler.dataset)) == count


def _loader_options(loader: DataLoader[Any]) -> dict[str, Any]:
    """Return the run options of a loader. The batch size is that of its batch sampler; a loader of single items has none."""
    options = {"workers": loader.num_workers}
    return options if loader.batch_sampler is None else {"batch_size": cast(BatchSampler, loader.batch_sampler).batch_size} | options


@contextmanager
def _seeded(random: np.random.Generator) -> Iterator[None]:
    """Seed the global random generators inside this context, and restore their states after it."""
    states = random_states(CPU)
    seed = int(random.integers(2**32))
    python_random.seed(seed)
    np.random.seed(seed)
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        restore_random(states, CPU)


def _is_image(tensor: Tensor) -> bool:
    return tensor.is_floating_point() and tensor.dim() == 3


def _shape(tensor: Tensor) -> str:
    return shape_text(tensor.shape) or "a single number"


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _described(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{_shape(value)} of {_type(value)}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"a {type(value).__name__} of {len(value)}"
    return f"of type {type(value).__name__}"


def _located(error: Exception) -> str:
    """Return an error with its type and the line of the user's code that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    own = next(chain(frames[1:2], frames[:1]))
    return f"{type(error).__name__}: {first_line(error)} ({Path(own.filename).name}, line {own.lineno})"

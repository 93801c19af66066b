"""The contract of a data set."""

from __future__ import annotations

import abc
from collections.abc import Collection
from typing import TYPE_CHECKING, ClassVar

from gcc.errors import DataError
from gcc.recipe import Recipe
from gcc.registry.renamed import AcceptsOldNames

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from torch import Tensor


class DatasetSource(AcceptsOldNames, abc.ABC):
    """A data set on disk, or made, that gives samples of one kind.

    Sources are constructed as `Source(root, split, recipe)` and read nothing but file names then. Each sample depends on its index and
    the random generator that it is given and on nothing else, so that any order, worker count or restart gives the same samples.
    """

    renamed = {
        "decoded": "cached",
        "decoded_in": "cache_path",
        "distinct": "num_unique",
        "part": "subset",
        "recognises": "matches",
        "shown": "preview",
        "without": "drop",
    }

    samples: ClassVar[str]
    """Kind of the samples, matched with `Architecture.samples`."""
    uniform: bool = True
    """Whether all samples that are not augmented have one size, so that they fit into a batch."""

    note: str = ""
    """Which samples really serve as this split, as a sentence; empty where they are the split's own."""

    @abc.abstractmethod
    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        """Find the samples of `split`, which is `train`, `val` or `test`; `root` is none for data that is made.

        Raises:
            DataError: the folder is missing, empty or of another layout, or its pairs do not match.
        """

    @classmethod
    @abc.abstractmethod
    def matches(cls, root: Path) -> bool:
        """Return whether the folder has this source's layout."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abc.abstractmethod
    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        """Return sample `index` as tensors without the batch dimension, augmented with `random`; none means not augmented.

        Raises:
            DataError: the image cannot be read; the message names it.
        """

    def subset(self, index: int) -> str:
        """Return the named part of the split that sample `index` belongs to, such as a test set's name; parts are evaluated apart."""
        return ""

    def num_unique(self, key: str) -> int:
        """Return how many samples differ in their entry `key`: the first so many, after which they begin again.

        Fewer than all where a sample joins images of two sides of which one has more.
        """
        return len(self)

    @property
    def identity(self) -> str:
        """What tells this split from every other, sizes and dates of files included; empty where nothing lasting can be known of it."""
        return ""

    def preview(self, index: int) -> dict[str, Tensor]:
        """Return sample `index` for a grid, where all samples must have one size; the sample as it is by default."""
        return self.sample(index, None)

    def cached(self, folder: Path) -> DatasetSource:
        """Return this source with its images decoded once, into a file in `folder`.

        Raises:
            DataError: an image cannot be read, or this source cannot keep what it reads.
            OutputError: there is no room for the file, or it cannot be written.
        """
        raise DataError(f"the data set {type(self).__name__} keeps no decoded images: leave --cache out")

    @property
    def cache_path(self) -> Path | None:
        """The file that decoded images are read from, if there is one."""
        return None

    @abc.abstractmethod
    def check(self) -> list[tuple[int, str]]:
        """Read everything once and return (number, reason) for what cannot be used; `drop` takes the numbers."""

    @abc.abstractmethod
    def drop(self, bad: Collection[int]) -> DatasetSource:
        """Return this source without what `check` numbers so.

        Raises:
            DataError: nothing would be left.
        """

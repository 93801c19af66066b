"""The contract of a dataset."""

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
    """A dataset, on disk or generated, that returns samples of one kind.

    Sources are constructed as `Source(root, split, recipe)`, which reads only file names. Each sample depends only on its index and the
    random generator passed with it, so that any order, worker count or restart gives the same samples.
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
    generated: ClassVar[bool] = False
    """Whether the samples need no folder; such a dataset is never matched with a folder."""
    uniform: bool = True
    """Whether all samples have one size without augmentation, so that they fit into a batch."""

    note: str = ""
    """A sentence that says which other split is used in place of this one; empty if none."""

    @abc.abstractmethod
    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        """Find the samples of `split`, which is `train`, `val` or `test`; `root` is None for generated data.

        Raises:
            DataError: the folder is missing, empty or has another layout, or its pairs do not match.
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
        """Return sample `index` as tensors without the batch dimension, augmented with `random`; None means without augmentation.

        Raises:
            DataError: the image cannot be read; the message names it.
        """

    def subset(self, index: int) -> str:
        """Return the named subset that sample `index` belongs to, such as the name of a test set; each subset is evaluated separately."""
        return ""

    def num_unique(self, key: str) -> int:
        """Return how many samples have different entries `key`; after that many samples, the entries repeat.

        This is less than the number of samples if each sample combines images of two domains, and one domain has more images.
        """
        return len(self)

    @property
    def identity(self) -> str:
        """A text that identifies this split, including sizes and dates of its files; an empty string if it cannot be identified."""
        return ""

    @property
    def content_digest(self) -> str:
        """A text that identifies what this split contains, which copies of its files share; `identity` if a dataset has no other one."""
        return self.identity

    def preview(self, index: int) -> dict[str, Tensor]:
        """Return sample `index` for a grid, in which all samples must have one size; by default the sample without augmentation."""
        return self.sample(index, None)

    def cached(self, folder: Path) -> DatasetSource:
        """Return this source with its images decoded once, to a file in `folder`.

        Raises:
            DataError: an image cannot be read, or this source has no cache.
            OutputError: there is no space for the file, or it cannot be written.
        """
        raise DataError(f"the dataset {type(self).__name__} cannot cache decoded images: leave `cache` out")

    @property
    def cache_path(self) -> Path | None:
        """The file from which decoded images are read; None if there is none."""
        return None

    @abc.abstractmethod
    def check(self) -> list[tuple[int, str]]:
        """Read everything once and return (index, reason) for whatever cannot be used; `drop` takes the indices."""

    @abc.abstractmethod
    def drop(self, bad: Collection[int]) -> DatasetSource:
        """Return this source without the files whose indices `check` returned.

        Raises:
            DataError: nothing would be left.
        """

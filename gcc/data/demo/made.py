"""What every demo data set shares: samples that are drawn, not read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Self

from gcc.errors import DataError
from gcc.recipe import Recipe
from gcc.registry.dataset import DatasetSource


class MadeImages(DatasetSource):
    """Samples that are made from split and index alone, and need no folder."""

    sizes: ClassVar[dict[str, int]] = {"train": 400, "val": 40, "test": 40}
    """Number of samples in each split."""

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        if root is not None:
            raise DataError(f"the data set of {type(self).__name__.lower()} is made and reads no folder, but {root} was given")
        self.split = split
        self.size = recipe.size

    @classmethod
    def matches(cls, root: Path) -> bool:
        return False

    def __len__(self) -> int:
        return self.sizes[self.split]

    def check(self) -> list[tuple[int, str]]:
        return []

    def without(self, bad: Collection[int]) -> Self:
        return self

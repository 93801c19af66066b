"""The base class of the demo datasets: their samples are rendered, not read."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import ClassVar, Self

from gcc.errors import DataError
from gcc.recipe import RGB, Recipe, data_range, image_channels, image_size
from gcc.registry.dataset import DatasetSource


class GeneratedImages(DatasetSource):
    """Samples that depend on split and index alone and need no folder."""

    generated = True
    sizes: ClassVar[dict[str, int]] = {"train": 400, "val": 40, "test": 40}
    """Number of samples in each split."""

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        if root is not None:
            raise DataError(f"the dataset {type(self).__name__.lower()} is generated and reads no folder, but {root} was given")
        if image_size(recipe) != (recipe.size, recipe.size):
            raise DataError(f"demo data are squares: give `data`, or `size={recipe.size}`")
        if image_channels(recipe) != (RGB, RGB):
            raise DataError(f"demo data are RGB images: give `data`, or input_nc = {RGB} and output_nc = {RGB}")
        if data_range(recipe):
            raise DataError("demo data have 8 bits: give `data`, or leave `range` out")
        self.split = split
        self.size = recipe.size

    @classmethod
    def matches(cls, root: Path) -> bool:
        return False

    def __len__(self) -> int:
        return self.sizes[self.split]

    def check(self) -> list[tuple[int, str]]:
        return []

    def drop(self, bad: Collection[int]) -> Self:
        return self

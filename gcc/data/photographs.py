"""Photographs for super-resolution, such as COCO, DIV2K and their usual test sets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from gcc.data.bands import Picture
from gcc.data.folders import describe_contents, require_folder
from gcc.data.hold_out import every_tenth, select_split
from gcc.data.image_files import ImagesOnDisk
from gcc.data.images import image_files, images_below, read_image, resized, subfolders, to_tensor
from gcc.errors import DataError, RecipeError
from gcc.recipe import Recipe, data_range, image_channels

FOLDERS = {
    "train": ("train", "train2017", "train2014", "DIV2K_train_HR", "."),
    "val": ("val", "val2017", "val2014", "DIV2K_valid_HR"),
    "test": ("test",),
}
"""Folders that may hold each split; the first that holds images counts."""
LAYOUT = f"expected images in {'/, '.join(FOLDERS['train'][:-1])}/, or directly inside"
Photograph = tuple[Path, str]
"""An image file, and the name of its test set."""


class Photographs(ImagesOnDisk[Photograph]):
    """Photographs in `train/` and its subfolders, or directly inside; `val/` and `test/` may contain named sets such as `test/Set5/`.

    A sample is `hr`, (C, H, W), and `lr`, (C, H / f, W / f), in [-1, 1] with f = `recipe.scale`: for training a random crop of S x S
    pixels, S = `recipe.size`, else the whole image, cut at the right and the bottom to a multiple of f. The folders of COCO and DIV2K are
    found by their own names. If `val` or `test` is missing, the other serves as both. If both are missing, every tenth training image is
    held out for them.
    """

    samples = "super-resolution"
    uniform = False

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        self.size, self.channels, self.scale = recipe.size, image_channels(recipe), scale_of(recipe)
        self.value_range = data_range(recipe)
        self.smallest = self.size if split == "train" else self.scale
        self.root = root = require_folder(root)
        if not self.matches(root):
            raise DataError(f"{root} holds {describe_contents(root)}: {LAYOUT}")
        splits = {name: files for name in FOLDERS if (files := _files(root, name))}
        self.files, self.note = select_split(root, splits, split, every_tenth, len)

    @classmethod
    def matches(cls, root: Path) -> bool:
        return any(_files(root, split) for split in FOLDERS)

    def images_of(self, file: Photograph) -> Iterator[tuple[Path, int]]:
        yield file[0], self.channels[1]

    def read(self, file: Photograph) -> Picture:
        path, _ = file
        image = read_image(path, self.channels[1], self.value_range)
        if min(image.size) < self.smallest:
            least = f"{self.smallest}x{self.smallest}"
            raise DataError(f"{path} is {image.width}x{image.height} pixels: expected at least {least}; remove it, or set a smaller size")
        return image

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        image = self.images(self.files[index])
        if random is None:
            right, bottom = (side - side % self.scale for side in image.size)
            return both_resolutions(image.crop((0, 0, right, bottom)), self.scale)
        left, top = (int(random.integers(side - self.size, endpoint=True)) for side in image.size)
        return self._cropped(image, left, top)

    def subset(self, index: int) -> str:
        return self.files[index][1]

    def preview(self, index: int) -> dict[str, Tensor]:
        """Return the centre of photograph `index`, S x S pixels; a smaller one is padded with black."""
        image = self.images(self.files[index])
        left, top = ((side - self.size) // 2 for side in image.size)
        return self._cropped(image, left, top)

    def _cropped(self, image: Picture, left: int, top: int) -> dict[str, Tensor]:
        return both_resolutions(image.crop((left, top, left + self.size, top + self.size)), self.scale)


def _files(root: Path, split: str) -> list[Photograph]:
    for folder in (root / name for name in FOLDERS[split]):
        if split == "train":
            files = [(path, "") for path in (image_files(folder) if folder == root else images_below(folder))]
        else:
            sets = [(path, test_set.name) for test_set in subfolders(folder) for path in image_files(test_set)]
            files = [(path, "") for path in image_files(folder)] + sets
        if files:
            return files
    return []


@runtime_checkable
class Scaled(Protocol):
    """A recipe that enlarges images."""

    @property
    def scale(self) -> int:
        """The factor between the sizes of the large and the small image."""


def scale_of(recipe: Recipe) -> int:
    """Return the scale of a recipe for super-resolution.

    Raises:
        RecipeError: the recipe has no scale, or its size is not a multiple of the scale.
    """
    if not isinstance(recipe, Scaled):
        raise RecipeError(f"{type(recipe).__name__} has no scale: a family for super-resolution needs a recipe with the field 'scale'")
    if recipe.size % recipe.scale:
        raise RecipeError(f"size={recipe.size} is not a multiple of scale={recipe.scale}: small images need whole pixels")
    return recipe.scale


def both_resolutions(image: Picture, scale: int) -> dict[str, Tensor]:
    """Return an image (H, W) as `hr`, (C, H, W), and shrunk by the anti-aliased bicubic filter as `lr`, (C, H / scale, W / scale)."""
    return {"hr": to_tensor(image), "lr": to_tensor(resized(image, image.width // scale, image.height // scale))}

"""Folders of images without annotations. The name and the crop are those of CelebA (Liu et al. 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gcc.data.bands import P, Picture
from gcc.data.folders import describe_contents, require_folder
from gcc.data.hold_out import every_tenth, select_split
from gcc.data.image_files import ImagesOnDisk
from gcc.data.images import image_files, read_image, resized, to_tensor
from gcc.data.inspection import ImageInfo
from gcc.errors import DataError
from gcc.recipe import Recipe, data_range, image_channels

CROP = 160
"""Height and width of the centred crop, in pixels; CelebA's aligned images are 178x218."""
FOLDERS = ("img_align_celeba", "celeba/img_align_celeba", "")
"""Folders that may hold the images, relative to the data folder; the first that holds any counts."""
OTHER_LAYOUTS = ("train", "val", "test", "A", "B", "trainA", "trainB", "testA", "testB")
"""Folders of other layouts; images next to them are not samples."""

LAYOUT = f"expected images directly in it, in {FOLDERS[0]}/ or in {FOLDERS[1]}/, and no folders such as train/ or trainA/"


class CelebA(ImagesOnDisk[Path]):
    """A folder of images: `*.jpg`, `img_align_celeba/*.jpg` or `celeba/img_align_celeba/*.jpg`.

    A sample is the image `real`, (C, S, S) in [-1, 1] with S = `recipe.size`: the centred square of 160 x 160 pixels, resized bilinearly.
    An image with a side shorter than 160 gives its largest centred square. As in SAGAN's trainer for CelebA, nothing is augmented.
    Attributes, landmarks and partitions are not read: every tenth image is held out for val and test.
    """

    samples = "images"
    resizes = True

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        self.size, self.channels = recipe.size, image_channels(recipe)
        self.value_range = data_range(recipe)
        self.root = root = require_folder(root)
        files = _images(root)
        if not files:
            raise DataError(f"{root} holds {describe_contents(root)}: {LAYOUT}")
        self.files, self.note = select_split(root, {"train": files}, split, every_tenth, len)

    @classmethod
    def matches(cls, root: Path) -> bool:
        return bool(_images(root))

    def read(self, file: Path) -> Picture:
        return read_image(file, self.channels[1], self.value_range)

    def images_of(self, file: Path) -> Iterator[tuple[Path, int]]:
        yield file, self.channels[1]

    def inspect(self) -> list[ImageInfo]:
        # Only the centred square is resized.
        return [replace(info, size=(min(CROP, *info.size),) * 2) for info in super().inspect()]

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        square = _centre(self.images(self.files[index]))
        return {"real": to_tensor(resized(square, self.size, self.size, Image.Resampling.BILINEAR))}


def _images(root: Path) -> list[Path]:
    if any((root / folder).is_dir() for folder in OTHER_LAYOUTS):
        return []
    return next(filter(None, (image_files(root / folder) for folder in FOLDERS)), [])


def _centre(image: P) -> P:
    side = min(CROP, *image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))

"""Folders of images, such as CelebA (Liu et al. 2015)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from gcc.data.folders import found, require_folder
from gcc.data.hold_out import chosen, every_tenth
from gcc.data.image_files import ImagesOnDisk
from gcc.data.images import image_files, read_rgb, resized, to_tensor
from gcc.errors import DataError
from gcc.recipe import Recipe

CROP = 160
"""Side of the centred square that is cut out of an image, in pixels; CelebA's aligned images are 178x218."""
PLACES = ("img_align_celeba", "celeba/img_align_celeba", "")
"""Where in a data folder the images may lie; the first that holds any counts."""
OTHERS = ("train", "val", "test", "A", "B", "trainA", "trainB", "testA", "testB")
"""Folders that tell of another layout, in which an image beside them is no sample."""

LAYOUT = f"expected images directly in it, in {PLACES[0]}/ or in {PLACES[1]}/, and no folders such as train/ or trainA/"


class CelebA(ImagesOnDisk[Path]):
    """A folder of images: `*.jpg`, `img_align_celeba/*.jpg` or `celeba/img_align_celeba/*.jpg`.

    A sample is the image `real`, (3, S, S) in [-1, 1] with S = `recipe.size`: the centred square of 160 x 160 pixels, resized bilinearly.
    An image that is smaller than 160 on a side gives its largest centred square. As in SAGAN's trainer for CelebA, nothing is augmented.
    Attributes, landmarks and partitions are not read: every tenth image is held out for val and test.
    """

    samples = "images"

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        self.size = recipe.size
        root = require_folder(root)
        files = _images(root)
        if not files:
            raise DataError(f"{root} holds {found(root)}: {LAYOUT}")
        self.files, self.note = chosen(root, {"train": files}, split, every_tenth, len)

    @classmethod
    def matches(cls, root: Path) -> bool:
        return bool(_images(root))

    def read(self, file: Path) -> Image.Image:
        return read_rgb(file)

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        square = _centre(self.images(self.files[index]))
        return {"real": to_tensor(resized(square, self.size, self.size, Image.Resampling.BILINEAR))}


def _images(root: Path) -> list[Path]:
    if any((root / other).is_dir() for other in OTHERS):
        return []
    return next(filter(None, (image_files(root / place) for place in PLACES)), [])


def _centre(image: Image.Image) -> Image.Image:
    side = min(CROP, *image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))

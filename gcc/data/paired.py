"""The base class of image pairs on disk, and the augmentation of pix2pix."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from gcc.data.bands import P, Picture
from gcc.data.image_files import ImagesOnDisk
from gcc.data.images import BICUBIC, resized, to_tensor
from gcc.errors import DataError
from gcc.recipe import Recipe, data_range, image_channels, image_size

F = TypeVar("F")

ENLARGED = 286 / 256
"""Ratio of the sizes before and after the random crop, as in pix2pix."""


@dataclass(frozen=True)
class Augmentation:
    """A resize to `load` pixels, width and height, the crop of `size` pixels at (`left`, `top`), and optionally a mirror."""

    size: tuple[int, int]
    load: tuple[int, int]
    left: int = 0
    top: int = 0
    mirrored: bool = False

    @classmethod
    def draw(cls, size: tuple[int, int], random: np.random.Generator | None) -> Augmentation:
        """Draw the augmentation of pix2pix for a width and a height; without `random` it only resizes."""
        if random is None:
            return cls(size, size)
        width, height = size
        load = round(width * ENLARGED), round(height * ENLARGED)
        left, top = random.integers(0, [load[0] - width, load[1] - height], endpoint=True)
        return cls(size, load, int(left), int(top), bool(random.random() < 0.5))

    def __call__(self, image: P, resample: Image.Resampling = BICUBIC) -> P:
        """Return the augmented image."""
        width, height = self.size
        image = resized(image, *self.load, resample)
        image = image.crop((self.left, self.top, self.left + width, self.top + height))
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else image


class PairedImages(ImagesOnDisk[F]):
    """Pairs of images on disk: `A` and `B`, each (C, H, W) in [-1, 1] of the recipe's size and channels, exactly aligned.

    Both get the same draw of pix2pix's augmentation: a bicubic resize to 286/256 of the size, a crop, a mirror half the time.
    """

    samples = "paired"
    resizes = True
    resample_A: ClassVar[Image.Resampling] = BICUBIC
    """The filter that resizes image A; label maps need nearest neighbour."""

    def __init__(self, recipe: Recipe) -> None:
        self.size, self.channels = image_size(recipe), image_channels(recipe)
        self.value_range = data_range(recipe)

    @abc.abstractmethod
    def read(self, file: F) -> tuple[Picture, Picture]:
        """Read a pair from disk: two images of one size.

        Raises:
            DataError: an image cannot be read, or the two differ in size.
        """

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        a, b = self.images(self.files[index])
        augment = Augmentation.draw(self.size, random)
        return {"A": to_tensor(augment(a, self.resample_A)), "B": to_tensor(augment(b))}


def same_size(a: Picture, b: Picture, names: str) -> tuple[Picture, Picture]:
    """Return both images of a pair; `names` names them in messages.

    Raises:
        DataError: their sizes differ.
    """
    if a.size != b.size:
        sizes = " and ".join(f"{image.width}x{image.height}" for image in (a, b))
        raise DataError(f"{names} are {sizes} pixels: both images of a pair must have one size; resize one, or remove the pair")
    return a, b

"""What every set of image pairs on disk shares: the augmentation of pix2pix and the reading of pairs."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np
from PIL import Image
from torch import Tensor

from gcc.data.image_files import ImagesOnDisk
from gcc.data.images import BICUBIC, resized, to_tensor
from gcc.errors import DataError
from gcc.recipe import Recipe

F = TypeVar("F")

ENLARGED = 286 / 256
"""Size before the random crop over the size after it, as in pix2pix."""


@dataclass(frozen=True)
class Augmentation:
    """A resize to `load` x `load` pixels, the crop of `size` x `size` pixels at (`left`, `top`), and perhaps a mirror."""

    size: int
    load: int
    left: int = 0
    top: int = 0
    mirrored: bool = False

    @classmethod
    def drawn(cls, size: int, random: np.random.Generator | None) -> Augmentation:
        """Draw the augmentation of pix2pix; with none as `random` it only resizes."""
        if random is None:
            return cls(size, size)
        load = round(size * ENLARGED)
        left, top = random.integers(0, load - size, size=2, endpoint=True)
        return cls(size, load, int(left), int(top), bool(random.random() < 0.5))

    def __call__(self, image: Image.Image, resample: Image.Resampling = BICUBIC) -> Image.Image:
        """Return the augmented image, `size` x `size` pixels."""
        image = resized(image, self.load, self.load, resample)
        image = image.crop((self.left, self.top, self.left + self.size, self.top + self.size))
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if self.mirrored else image


class PairedImages(ImagesOnDisk[F]):
    """Pairs of images on disk: `A` and `B`, each (3, S, S) in [-1, 1] with S = `recipe.size`, in exact register.

    Both go through one draw of the augmentation of pix2pix: a bicubic resize to 286/256 S, a crop of S x S, a mirror half the time.
    """

    samples = "paired"
    resample_A: ClassVar[Image.Resampling] = BICUBIC
    """How image A is resized; label maps need the nearest neighbour."""

    def __init__(self, recipe: Recipe) -> None:
        self.size = recipe.size

    @abc.abstractmethod
    def read(self, file: F) -> tuple[Image.Image, Image.Image]:
        """Return a pair as it is on disk, two RGB images of one size.

        Raises:
            DataError: an image cannot be read, or the two differ in size.
        """

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        a, b = self.images(self.files[index])
        augment = Augmentation.drawn(self.size, random)
        return {"A": to_tensor(augment(a, self.resample_A)), "B": to_tensor(augment(b))}


def same_size(a: Image.Image, b: Image.Image, names: str) -> tuple[Image.Image, Image.Image]:
    """Return both images of the pair `names`.

    Raises:
        DataError: their sizes differ.
    """
    if a.size != b.size:
        sizes = " and ".join(f"{image.width}x{image.height}" for image in (a, b))
        raise DataError(f"{names} are {sizes} pixels: both images of a pair must have one size; resize one, or remove the pair")
    return a, b

"""The demo dataset for super-resolution: rendered houses, gardens, mountains and seas."""

from __future__ import annotations

import zlib
from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from PIL import Image
from torch import Tensor

from gcc.data.demo.generated import GeneratedImages
from gcc.data.demo.scenes.views import render
from gcc.data.photographs import both_resolutions, scale_of
from gcc.recipe import Recipe

PIXELS = 160
"""Height and width of a picture; a larger crop gets a picture of that size."""


class Scenes(GeneratedImages):
    """Generated pictures that are full of detail, for trying super-resolution out.

    A sample is `hr`, (3, S, S), and `lr`, (3, S / f, S / f), in [-1, 1], with S = `recipe.size` and f = `recipe.scale`. A picture depends
    on split and index alone, is rendered on first use and cached. A random crop and a mirror half the time are the only
    augmentation; without it, the sample is the centre of the picture.
    """

    samples = "super-resolution"
    sizes: ClassVar[dict[str, int]] = {"train": 200, "val": 20, "test": 20}

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        super().__init__(root, split, recipe)
        self.scale = scale_of(recipe)

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        picture = _rendered(self.split, index, max(self.size, PIXELS))
        room = len(picture) - self.size
        top, left = (room // 2, room // 2) if random is None else random.integers(room, size=2, endpoint=True)
        crop = picture[top : top + self.size, left : left + self.size]
        if random is not None and random.random() < 0.5:
            crop = crop[:, ::-1]
        return both_resolutions(Image.fromarray(np.ascontiguousarray(crop)), self.scale)


@lru_cache(maxsize=sum(Scenes.sizes.values()))
def _rendered(split: str, index: int, pixels: int) -> npt.NDArray[np.uint8]:
    """Return the picture of a sample, (pixels, pixels, 3), cached for later epochs and runs."""
    return render(pixels, np.random.default_rng((zlib.crc32(split.encode()), index)))

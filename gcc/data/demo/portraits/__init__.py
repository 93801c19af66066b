"""The demo dataset for generators that start from noise: rendered portraits of people who do not exist."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gcc.data.demo.generated import GeneratedImages
from gcc.data.demo.portraits.blobs import render
from gcc.data.demo.portraits.scene import draw_portrait
from gcc.data.images import to_tensor


class Portraits(GeneratedImages):
    """Generated portraits, for trying things out: faces of many kinds, centred and lit from one side.

    A sample is the image `real`, (3, S, S) in [-1, 1] with S = `recipe.size`. It is the same portrait at every size; it depends on split
    and index alone, is rendered on first use and cached. A mirror half the time is the only augmentation.
    """

    samples = "images"
    sizes = {"train": 800, "val": 80, "test": 80}

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        image = _rendered(self.split, index, self.size)
        return {"real": to_tensor(image[:, ::-1] if random is not None and random.random() < 0.5 else image)}


@lru_cache(maxsize=sum(Portraits.sizes.values()))
def _rendered(split: str, index: int, size: int) -> npt.NDArray[np.uint8]:
    """Return a portrait (S, S, 3), cached for later epochs and runs."""
    return render(draw_portrait(np.random.default_rng((zlib.crc32(split.encode()), index))), size)

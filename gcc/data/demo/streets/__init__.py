"""The demo dataset for paired translation: a small rendered street world as label maps and photographs."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gcc.data.demo.generated import GeneratedImages
from gcc.data.demo.streets.render import render
from gcc.data.demo.streets.scene import draw_scene
from gcc.data.images import to_tensor

COLOURS = (
    (128, 64, 128),  # road
    (244, 35, 232),  # sidewalk
    (70, 70, 70),  # building
    (153, 153, 153),  # pole
    (220, 220, 0),  # traffic sign
    (107, 142, 35),  # vegetation
    (152, 251, 152),  # terrain
    (70, 130, 180),  # sky
    (220, 20, 60),  # person
    (0, 0, 142),  # car
)
"""Colours of the labels by number, from Cityscapes."""

_PALETTE = np.array(COLOURS, dtype=np.uint8)


class Streets(GeneratedImages):
    """A generated street world, for trying things out: label maps in Cityscapes' colours and the photographs of the same streets.

    A is the label map and B the photograph, each (3, S, S) in [-1, 1] with S = `recipe.size`. A sample is the same street at every size; it
    depends on split and index alone, is rendered on first use and cached. A mirror half the time is the only augmentation.
    """

    samples = "paired"

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        photo, labels = _rendered(self.split, index, self.size)
        colours = _PALETTE[labels]
        if random is not None and random.random() < 0.5:
            colours, photo = colours[:, ::-1], photo[:, ::-1]
        return {"A": to_tensor(colours), "B": to_tensor(photo)}


@lru_cache(maxsize=sum(GeneratedImages.sizes.values()))
def _rendered(split: str, index: int, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return the photograph (S, S, 3) and the labels (S, S) of a sample, cached for later epochs and runs."""
    random = np.random.default_rng((zlib.crc32(split.encode()), index))
    return render(draw_scene(random), size, random)

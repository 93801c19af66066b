"""The demo dataset for unpaired translation: rendered meadows of two worlds."""

from __future__ import annotations

import zlib
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from torch import Tensor

from gcc.data.demo.generated import GeneratedImages
from gcc.data.demo.worlds.render import SAVANNAH, SUMMER, render
from gcc.data.demo.worlds.scene import draw_scene
from gcc.data.images import to_tensor

_WORLDS = {"A": SUMMER, "B": SAVANNAH}


class Worlds(GeneratedImages):
    """Two generated worlds, for trying things out: chestnut animals on a summer meadow, and striped ones in the savannah.

    A shows one world and B the other, each (3, S, S) in [-1, 1] with S = `recipe.size`; they never show the same scene. An image is
    the same at every size; it depends on split, index and world alone, is rendered on first use and cached. In training B is drawn at
    random, and each image is mirrored half the time.
    """

    samples = "unpaired"

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        partner = index if random is None else int(random.integers(len(self)))
        images = {world: _rendered(self.split, number, world, self.size) for world, number in (("A", index), ("B", partner))}
        return {world: to_tensor(_mirrored(image, random)) for world, image in images.items()}


def _mirrored(image: npt.NDArray[np.uint8], random: np.random.Generator | None) -> npt.NDArray[np.uint8]:
    """Return the image, mirrored half the time."""
    return image[:, ::-1] if random is not None and random.random() < 0.5 else image


@lru_cache(maxsize=len(_WORLDS) * sum(GeneratedImages.sizes.values()))
def _rendered(split: str, index: int, world: str, size: int) -> npt.NDArray[np.uint8]:
    """Return an image (S, S, 3), cached for later epochs and runs."""
    random = np.random.default_rng((zlib.crc32(split.encode()), index, ord(world)))
    return render(draw_scene(random), _WORLDS[world], size)

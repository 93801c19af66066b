"""Datasets for Real-ESRGAN: the small image of a sample is a degraded image instead of a shrunken one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch import Tensor

from gcc.data.demo.scenes import Scenes
from gcc.data.photographs import Photographs
from gcc.recipe import Recipe
from gcc_esrgan.degradations import degraded

FIXED_SEED = 2107
"""Start of the seed of a sample without augmentation, so that every evaluation gets the same degradations."""


class RealPhotographs(Photographs):
    """Photographs as `photographs` finds them, with degraded small images; found by name only.

    The degradations are those of `gcc_esrgan.degradations`. Samples without augmentation have fixed ones.
    """

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        # `Photographs` refuses folders that its class does not match, and this class matches none.
        vars(self).update(vars(Photographs(root, split, recipe)))

    @classmethod
    def matches(cls, root: Path) -> bool:
        return False

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        return with_degraded_input(super().sample(index, random), self.scale, index, random)

    def preview(self, index: int) -> dict[str, Tensor]:
        return with_degraded_input(super().preview(index), self.scale, index, None)


class RealScenes(Scenes):
    """The generated pictures of `scenes`, with degraded small images, for trying Real-ESRGAN out."""

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        return with_degraded_input(super().sample(index, random), self.scale, index, random)


def with_degraded_input(sample: dict[str, Tensor], scale: int, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
    """Return a sample with a degraded `hr` as `lr`; `random` draws the degradations, and the index decides them if it is None."""
    random = np.random.default_rng((FIXED_SEED, index)) if random is None else random
    return {**sample, "lr": 2 * degraded((sample["hr"] + 1) / 2, scale, random) - 1}

"""Random generator inputs beside the data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from torch import Tensor

from gcc.registry.dataset import SampleSource


class WithNoise(SampleSource):
    """A source whose samples also have the generators' random input `z`, where they take one.

    Args:
        source: of any kind of samples.
        latent: draws one input, or returns none; see `Architecture.latent`.
    """

    samples = "any"

    def __init__(self, source: SampleSource, latent: Callable[[np.random.Generator], Tensor | None]) -> None:
        self.source = source
        self.latent = latent
        self.note, self.uniform = source.note, source.uniform

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return False

    def __len__(self) -> int:
        return len(self.source)

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        return self._with_noise(self.source.sample(index, random), index if random is None else random)

    def part(self, index: int) -> str:
        return self.source.part(index)

    def distinct(self, key: str) -> int:
        return self.source.distinct(key)

    @property
    def identity(self) -> str:
        return self.source.identity

    def shown(self, index: int) -> dict[str, Tensor]:
        return self._with_noise(self.source.shown(index), index)

    def decoded(self, folder: Path) -> WithNoise:
        return WithNoise(self.source.decoded(folder), self.latent)

    @property
    def decoded_in(self) -> Path | None:
        return self.source.decoded_in

    def check(self) -> list[tuple[int, str]]:
        return self.source.check()

    def without(self, bad: Collection[int]) -> WithNoise:
        return WithNoise(self.source.without(bad), self.latent)

    def _with_noise(self, sample: dict[str, Tensor], random: np.random.Generator | int) -> dict[str, Tensor]:
        z = self.latent(np.random.default_rng(random))
        return sample if z is None else sample | {"z": z}

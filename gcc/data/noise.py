"""Random generator inputs beside the data."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
from torch import Tensor

from gcc.registry.dataset import DatasetSource


class WithNoise(DatasetSource):
    """A source whose samples also have the generators' random input `z`, where they take one.

    Args:
        source: of any kind of samples.
        latent: draws one input, or returns none; see `Architecture.sample_z`.
    """

    samples = "any"

    def __init__(self, source: DatasetSource, latent: Callable[[np.random.Generator], Tensor | None]) -> None:
        self.source = source
        self.sample_z = latent
        self.note, self.uniform = source.note, source.uniform

    @classmethod
    def matches(cls, root: Path) -> bool:
        return False

    def __len__(self) -> int:
        return len(self.source)

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        return self._with_noise(self.source.sample(index, random), index if random is None else random)

    def subset(self, index: int) -> str:
        return self.source.subset(index)

    def num_unique(self, key: str) -> int:
        return self.source.num_unique(key)

    @property
    def identity(self) -> str:
        return self.source.identity

    def preview(self, index: int) -> dict[str, Tensor]:
        return self._with_noise(self.source.preview(index), index)

    def cached(self, folder: Path) -> WithNoise:
        return WithNoise(self.source.cached(folder), self.sample_z)

    @property
    def cache_path(self) -> Path | None:
        return self.source.cache_path

    def check(self) -> list[tuple[int, str]]:
        return self.source.check()

    def drop(self, bad: Collection[int]) -> WithNoise:
        return WithNoise(self.source.drop(bad), self.sample_z)

    def _with_noise(self, sample: dict[str, Tensor], random: np.random.Generator | int) -> dict[str, Tensor]:
        z = self.sample_z(np.random.default_rng(random))
        return sample if z is None else sample | {"z": z}

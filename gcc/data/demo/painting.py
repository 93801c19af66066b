"""Colours, bands, stripes and noise for all demo worlds."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Where = tuple[slice, slice]
"""Rows and columns of a canvas."""

TILE = 256
"""Period of the noise in lattice points."""


def rgb(colour: Sequence[float] | Sequence[Sequence[float]]) -> Array:
    """Return a colour as (3,), or several as (n, 3)."""
    return np.asarray(colour, dtype=np.float32)


def mix(a: Array, b: Array, share: Array) -> Array:
    """Return `a` where `share` (...) is 0 and `b` where it is 1, both (..., 3)."""
    mixed: Array = a + (b - a) * share[..., None]
    return mixed


def band(value: Array, low: float, high: float, footprint: Array | float) -> Array:
    """Return how much of each pixel lies between `low` and `high`, if it is `footprint` wide in `value`."""
    width = np.maximum(footprint, 1e-4)
    covered = np.minimum(value + width / 2, high) - np.maximum(value - width / 2, low)
    return np.clip(covered / width, 0, 1).astype(np.float32)


def stripes(value: Array, period: float, start: float, width: float, footprint: Array | float) -> Array:
    """Return how much of each pixel lies in stripes of `width`, one in each `period` from `start` on."""
    footprint = np.maximum(footprint, 1e-4)
    low, high = ((value - start + shift) / period for shift in (-footprint / 2, footprint / 2))
    share = width / period
    integral = [np.floor(t) * share + np.minimum(t - np.floor(t), share) for t in (low, high)]
    covered: Array = (integral[1] - integral[0]) * (period / footprint)
    return covered.astype(np.float32)


@cache
def _tile() -> Array:
    """Return smooth, periodic noise of several octaves with mean 0 and deviation 1, (TILE, TILE)."""
    random = np.random.default_rng(20211)
    frequency = np.fft.fftfreq(TILE)[:, None] ** 2 + np.fft.rfftfreq(TILE)[None] ** 2
    amplitude = np.where(frequency > 0, 1 / np.maximum(frequency, 1e-9) ** 0.5, 0) * np.exp(-frequency / 0.06)
    amplitude[frequency < (4 / TILE) ** 2] = 0
    noise = np.fft.irfft2(np.fft.rfft2(random.standard_normal((TILE, TILE))) * amplitude, s=(TILE, TILE))
    scaled: Array = noise / noise.std()
    return scaled.astype(np.float32)


def noise(x: Array, y: Array, seed: int = 0) -> Array:
    """Return smooth noise with deviation 1 at texture coordinates that repeat after 256, shaped as `x` and `y` broadcast."""
    columns = np.floor(x + seed % TILE).astype(np.int32) & (TILE - 1)
    rows = np.floor(y + seed // TILE).astype(np.int32) & (TILE - 1)
    return cast(Array, _tile()[rows, columns])


def soft_noise(x: Array, y: Array, seed: int = 0) -> Array:
    """Return interpolated `noise`, for surfaces that appear larger than its texels."""
    column, row = np.floor(x), np.floor(y)
    right, below = x - column, y - row
    above = noise(column, row, seed) * (1 - right) + noise(column + 1, row, seed) * right
    under = noise(column, row + 1, seed) * (1 - right) + noise(column + 1, row + 1, seed) * right
    between: Array = above * (1 - below) + under * below
    return between


@cache
def _dice() -> Array:
    return np.random.default_rng(20212).random((TILE, TILE), dtype=np.float32)


def dice(x: Array, y: Array, seed: int) -> Array:
    """Return a number in [0, 1) for each cell of the unit grid, independent from cell to cell."""
    columns = np.floor(x + seed % TILE).astype(np.int32) & (TILE - 1)
    rows = np.floor(y + seed // TILE).astype(np.int32) & (TILE - 1)
    return cast(Array, _dice()[rows, columns])

"""A canvas that sees a street in perspective, and the small tools that paint on it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from gcc.data.street_scene import Scene

Array = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]
Where = tuple[slice, slice]
"""Rows and columns of a canvas."""

FOCAL = 0.85
"""Focal length in widths of the image."""
EYE = 1.62
"""Height of the camera above the ground in metres."""
TILE = 256


class Canvas:
    """Colours (n, n, 3), class labels (n, n) and depths (n, n) in metres, seen from a scene's camera.

    `u` (n,) and `v` (n, 1) are the places of the pixels' centres right of and below the vanishing point in widths of the image, so that a
    point at (X, Y, Z) appears at u = FOCAL (X - camera) / Z, v = FOCAL (EYE - Y) / Z.
    """

    def __init__(self, scene: Scene, pixels: int) -> None:
        self.pixel = 1.0 / pixels
        centres = (np.arange(pixels, dtype=np.float32) + 0.5) / pixels
        self.u = centres - np.float32(scene.vanishing)
        self.v = (centres - np.float32(scene.horizon))[:, None]
        self.camera = scene.camera
        self.colour = np.zeros((pixels, pixels, 3), dtype=np.float32)
        self.label = np.zeros((pixels, pixels), dtype=np.uint8)
        self.depth = np.full((pixels, pixels), np.inf, dtype=np.float32)

    def where(self, left: float, right: float, top: float, bottom: float) -> Where | None:
        """Return the pixels within these bounds in u and v; none if there are none."""
        rows = np.searchsorted(self.v[:, 0], (top, bottom))
        columns = np.searchsorted(self.u, (left, right))
        if rows[0] == rows[1] or columns[0] == columns[1]:
            return None
        return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))

    def upright(self, x: float, z: float, left: float, right: float, height: float) -> tuple[Where, Array, Array] | None:
        """Return the pixels of an upright rectangle that faces the camera at `z`, and where they lie on it in metres.

        Args:
            x: the X from which `left` and `right` count.
            z: its depth.
            left: its left edge.
            right: its right edge.
            height: its upper edge; the lower one is the ground.

        Returns:
            the pixels, X - `x` as (w,) and Y as (h, 1); none if it is out of sight.
        """
        scale = FOCAL / z
        middle = x - self.camera
        where = self.where((middle + left) * scale, (middle + right) * scale, (EYE - height) * scale, EYE * scale)
        if where is None:
            return None
        return where, self.u[where[1]] / scale - np.float32(middle), EYE - self.v[where[0]] / scale

    def paint(self, where: Where, mask: Mask, colour: Array, label: int, depth: Array | float) -> None:
        """Paint the pixels of `where` that `mask` (h, w) tells with `colour`, (h, w, 3) or (3,)."""
        np.copyto(self.colour[where], colour, where=mask[..., None])
        np.copyto(self.depth[where], np.float32(depth) if isinstance(depth, float) else depth, where=mask)
        np.copyto(self.label[where], np.uint8(label), where=mask)


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
    """Return `noise`, interpolated, for what is seen larger than its texels."""
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

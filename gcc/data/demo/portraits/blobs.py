"""Renders lit, smooth blobs that look the same at every image size."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FINEST = 64
"""Smaller images are rendered at this size or larger and downsampled, because details are thinner than a pixel."""
AHEAD = 0.8
"""How far the light comes from the front: the part of its direction that points at the viewer."""
SHADE = np.array((0.85, 1.0, 1.05), dtype=np.float32)
"""How much of red, green and blue a shadow takes."""


@dataclass(frozen=True)
class Blob:
    """A superellipse, optionally bent and turned, that is painted over the picture so far.

    Places and lengths are in halves of the picture: (-1, -1) is its upper left corner, (1, 1) its lower right one.
    """

    x: float
    y: float
    width: float
    """Half of the width."""
    height: float
    """Half of the height, or the height above the centre if `below` is given."""
    colour: Array
    """(3,) in [0, 1]."""
    below: float | None = None
    power: float = 2.0
    """1 is a diamond, 2 an ellipse, more a rectangle with round corners."""
    bend: float = 0.0
    """How far down the middle bends, with the square of the distance from it."""
    turn: float = 0.0
    """Angle in radians, clockwise."""
    curls: int = 0
    """Waves around the edge, each a twentieth of the radius deep."""
    soft: float = 0.0
    """Width of the edge."""
    opacity: float = 1.0
    relief: float = 0.0
    """Strength of the shading that makes it look round; 0 is flat."""
    within: tuple[Blob, ...] = ()
    """Only pixels inside all of these are painted."""
    without: tuple[Blob, ...] = ()
    """Pixels inside any of these are left out."""

    @property
    def reach(self) -> float:
        """Greatest distance from the centre that the blob may reach."""
        return math.hypot(self.width, max(self.height, self.below or 0.0)) * 1.1 + abs(self.bend) * self.width**2 + self.soft


@dataclass(frozen=True)
class Pose:
    """The pose of a figure: enlarged by `zoom`, turned by `turn` in radians, then moved by (`x`, `y`)."""

    zoom: float = 1.0
    turn: float = 0.0
    x: float = 0.0
    y: float = 0.0


@dataclass(frozen=True)
class Picture:
    """A gradient from `top` to `bottom`, each (3,), blurred blobs on it, and a figure of blobs, lit from `light` (x, y)."""

    top: Array
    bottom: Array
    lights: Sequence[Blob]
    figure: Sequence[Blob]
    pose: Pose
    light: tuple[float, float]


def render(picture: Picture, size: int) -> npt.NDArray[np.uint8]:
    """Return the picture in `size` x `size` pixels, (size, size, 3)."""
    fold = -(-FINEST // size)
    canvas = _Canvas(picture, fold * size)
    for blob in picture.lights:
        canvas.paint(blob, Pose())
    for blob in picture.figure:
        canvas.paint(blob, picture.pose)
    colour: Array = canvas.colour.reshape(size, fold, size, fold, 3).mean((1, 3)).clip(0, 1)
    pixels: npt.NDArray[np.uint8] = np.rint(colour * 255).astype(np.uint8)
    return pixels


class _Canvas:
    """Colours (n, n, 3) at the coordinates `axis` (n,) in both directions."""

    def __init__(self, picture: Picture, pixels: int) -> None:
        self.axis = (np.arange(pixels, dtype=np.float32) * 2 + 1) / pixels - 1
        self.light = picture.light
        share = (self.axis[:, None, None] + 1) / 2
        self.colour = np.repeat(picture.top + (picture.bottom - picture.top) * share, pixels, axis=1).astype(np.float32)

    def paint(self, blob: Blob, pose: Pose) -> None:
        x, y = _turned(blob.x, blob.y, pose.turn)
        columns, rows = (
            self._near(x * pose.zoom + pose.x, blob.reach * pose.zoom),
            self._near(y * pose.zoom + pose.y, blob.reach * pose.zoom),
        )
        right, down = (self.axis[columns] - pose.x) / pose.zoom, (self.axis[rows, None] - pose.y) / pose.zoom
        right, down = _turned(right, down, -pose.turn)
        pixel = 2 / len(self.axis) / pose.zoom
        share, u, v = _cover(blob, right, down, pixel)
        for other in blob.within:
            share = share * _cover(other, right, down, pixel)[0]
        for other in blob.without:
            share = share * (1 - _cover(other, right, down, pixel)[0])
        colour = self._lit(blob, u, v) if blob.relief else blob.colour
        there = self.colour[rows, columns]
        there += (colour - there) * share[..., None] * np.float32(blob.opacity)

    def _near(self, middle: float, reach: float) -> slice:
        first, last = np.searchsorted(self.axis, (middle - reach, middle + reach))
        return slice(int(first), int(last))

    def _lit(self, blob: Blob, u: Array, v: Array) -> Array:
        """Return the colours of an ellipsoid, at (`u`, `v`) in its half-axes."""
        towards = np.sqrt(np.maximum(1 - u * u - v * v, 0))
        bright = u * self.light[0] + v * self.light[1] + towards * AHEAD
        lit: Array = blob.colour * (1 + blob.relief * (bright - 0.75)[..., None] * SHADE)
        return lit


def _turned(x: Any, y: Any, angle: float) -> tuple[Any, Any]:
    """Return one or more points, turned clockwise around (0, 0)."""
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x - sin * y, sin * x + cos * y


def _cover(blob: Blob, right: Array, down: Array, pixel: float) -> tuple[Array, Array, Array]:
    """Return how much of each pixel the blob covers, and where the pixel lies in its half-axes."""
    x, y = right - np.float32(blob.x), down - np.float32(blob.y)
    if blob.turn:
        x, y = _turned(x, y, -blob.turn)
    if blob.bend:
        y = y + np.float32(blob.bend) * x * x
    height = blob.height if blob.below is None else np.where(y < 0, np.float32(blob.height), np.float32(blob.below))
    u, v = x / np.float32(blob.width), y / height
    # At the very centre no direction leads to the edge.
    across, along = np.maximum(np.abs(u), 1e-4), np.maximum(np.abs(v), 1e-4)
    radius = (across**blob.power + along**blob.power) ** (1 / blob.power)
    # First-order distance to the edge: (radius - 1) / |gradient of the radius|.
    growth = np.hypot((across / radius) ** (blob.power - 1) / blob.width, (along / radius) ** (blob.power - 1) / height)
    edge = 1 + 0.05 * np.cos(blob.curls * np.arctan2(u, v)) if blob.curls else 1.0
    share = np.clip(0.5 - (radius - edge) / growth / max(pixel, blob.soft), 0, 1)
    return (share * share * (3 - 2 * share) if blob.soft else share), u, v

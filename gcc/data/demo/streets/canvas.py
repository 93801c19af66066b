"""A canvas that shows a street in perspective, with methods that select and paint pixels."""

from __future__ import annotations

import numpy as np

from gcc.data.demo.painting import Array, Mask, Where
from gcc.data.demo.streets.scene import Scene

FOCAL = 0.85
"""Focal length in widths of the image."""
EYE = 1.62
"""Height of the camera above the ground in metres."""


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
        """Return the pixels within these bounds in u and v; None if there are none."""
        rows = np.searchsorted(self.v[:, 0], (top, bottom))
        columns = np.searchsorted(self.u, (left, right))
        if rows[0] == rows[1] or columns[0] == columns[1]:
            return None
        return slice(int(rows[0]), int(rows[1])), slice(int(columns[0]), int(columns[1]))

    def upright(self, x: float, z: float, left: float, right: float, height: float) -> tuple[Where, Array, Array] | None:
        """Return the pixels of an upright rectangle that faces the camera at `z`, and their positions on it in metres.

        Args:
            x: the X from which `left` and `right` count.
            z: its depth.
            left: its left edge.
            right: its right edge.
            height: its upper edge; the lower one is the ground.

        Returns:
            the pixels, X - `x` as (w,) and Y as (h, 1); None if it is out of sight.
        """
        scale = FOCAL / z
        middle = x - self.camera
        where = self.where((middle + left) * scale, (middle + right) * scale, (EYE - height) * scale, EYE * scale)
        if where is None:
            return None
        return where, self.u[where[1]] / scale - np.float32(middle), EYE - self.v[where[0]] / scale

    def paint(self, where: Where, mask: Mask, colour: Array, label: int, depth: Array | float) -> None:
        """Paint the pixels of `where` that `mask` (h, w) selects with `colour`, (h, w, 3) or (3,)."""
        np.copyto(self.colour[where], colour, where=mask[..., None])
        np.copyto(self.depth[where], np.float32(depth) if isinstance(depth, float) else depth, where=mask)
        np.copyto(self.label[where], np.uint8(label), where=mask)

"""Values of image files with more than 8 bits, and the range that they mean from black to white."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from gcc.recipe import Range

LEVEL = 255
"""The 8-bit value of white."""


def whole_range(kind: np.dtype) -> Range:
    """Return the values of black and white in files of a type if no range is stated.

    >>> whole_range(np.dtype(np.uint16)), whole_range(np.dtype(np.float32))
    ((0.0, 65535.0), (-1.0, 1.0))
    """
    return (-1.0, 1.0) if kind.kind == "f" else (0.0, float(np.iinfo(kind).max))


def to_levels(values: np.ndarray, value_range: Range) -> np.ndarray:
    """Return values as float32 from 0, black, to 255, white; values outside the range are clipped."""
    low, high = value_range
    return ((values.astype(np.float64).clip(low, high) - low) / (high - low) * LEVEL).astype(np.float32)


def from_tensor(tensor: Tensor, kind: np.dtype, value_range: Range) -> np.ndarray:
    """Return an image in [-1, 1] as values of a type, from black to white; integers are rounded."""
    low, high = value_range
    limits = np.finfo(kind) if kind.kind == "f" else np.iinfo(kind)
    values = tensor.detach().cpu().double().numpy() * ((high - low) / 2) + (high + low) / 2
    values = values.clip(low, high).clip(limits.min, limits.max)
    return (values if kind.kind == "f" else values.round()).astype(kind)


@dataclass(frozen=True)
class ValueSpan:
    """The values of an image file that are read with more than 8 bits.

    Attributes:
        kind: their type.
        low: the least value.
        high: the greatest value.
        whole: the values of black and white if no range is stated.
    """

    kind: np.dtype
    low: float
    high: float
    whole: Range

    @classmethod
    def of(cls, values: np.ndarray) -> ValueSpan | None:
        """Return the span of an array; None if it has 8 bits, or no real numbers."""
        kind = values.dtype
        if kind == np.uint8 or kind.kind not in "iuf":
            return None
        return cls(kind, float(values.min()), float(values.max()), whole_range(kind))

    def exceeds(self, value_range: Range) -> bool:
        """Return whether a value lies outside a range."""
        return self.low < value_range[0] or self.high > value_range[1]

"""Channel ids: which positions of a network's tensors must be removed together.

Four words are used throughout this package:

- An *atom* is one position of one dimension of a tensor, as an integer id.
- To *tie* atoms is to demand that they are removed together or kept together.
- To *fix* an atom is to demand that it is kept. Fixed atoms are tied to the atom `FIXED`.
- A *unit* is a set of tied atoms that is not fixed: one channel that can be removed. Its smallest atom represents it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Axis = NDArray[np.int64]
"""The atom at every position of one dimension."""
Layout = tuple[Axis, ...]
"""The atoms of a tensor, dimension by dimension."""

FIXED = 0
"""The atom of all positions that are kept, whatever is pruned."""


def fixed(shape: Iterable[int]) -> Layout:
    """Return the layout of a tensor from which no channel is removed."""
    return tuple(np.full(size, FIXED, np.int64) for size in shape)


class Atoms:
    """A union-find over atoms."""

    def __init__(self) -> None:
        self._parents = np.zeros(1, np.int64)

    def __len__(self) -> int:
        """Return the number of atoms."""
        return len(self._parents)

    def fresh(self, shape: Iterable[int]) -> Layout:
        """Return the layout of a tensor whose positions are all new atoms."""
        return tuple(self._new_axis(size) for size in shape)

    def _new_axis(self, size: int) -> Axis:
        first = len(self._parents)
        new = np.arange(first, first + size, dtype=np.int64)
        self._parents = np.concatenate([self._parents, new])
        return new

    def roots(self, axis: Axis) -> Axis:
        """Return the representative of each atom's unit; `FIXED` for a position that is kept."""
        roots = self._parents[axis]
        while (roots != (above := self._parents[roots])).any():
            roots = above
        self._parents[axis] = roots
        return roots

    def prunable(self, axis: Axis) -> bool:
        """Return whether any of the positions can still be removed."""
        return bool(self.roots(axis).any())

    def tie(self, one: Axis, other: Axis) -> None:
        """Tie two dimensions of one size, position by position; if one has a single atom, it is tied to every atom of the other."""
        low, high = np.broadcast_arrays(self.roots(one), self.roots(other))
        while (untied := low != high).any():
            pairs = low[untied], high[untied]
            low, high = np.minimum(*pairs), np.maximum(*pairs)
            # The smallest atom represents the unit, so that `FIXED` represents every atom that is tied to it.
            np.minimum.at(self._parents, high, low)
            low, high = self.roots(low), self.roots(high)

    def fix(self, *axes: Axis) -> None:
        """Fix all positions of these dimensions."""
        for axis in axes:
            self.tie(axis, np.array([FIXED]))

    def blocks(self, axis: Axis, count: int) -> Axis:
        """Tie the positions within each of `count` consecutive blocks of a dimension, and return one atom of each block."""
        parts = axis.reshape(count, -1)
        self.tie(parts, parts[:, :1])
        return parts[:, 0]

    def together(self, layouts: Sequence[Layout]) -> Layout:
        """Tie tensors as they are broadcast against each other, and return the layout of the result."""
        rank = max(map(len, layouts))
        return tuple(self._aligned([layout[-back] for layout in layouts if len(layout) >= back]) for back in range(rank, 0, -1))

    def _aligned(self, axes: Sequence[Axis]) -> Axis:
        size = next((len(axis) for axis in axes if len(axis) != 1), 1)
        first, *others = (axis for axis in axes if len(axis) == size)
        for other in others:
            self.tie(first, other)
        return first

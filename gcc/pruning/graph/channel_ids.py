"""Atoms: the single positions of a tensor's dimensions, and which of them stand or fall together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

Axis = NDArray[np.int64]
"""The atom at every position of one dimension."""
Layout = tuple[Axis, ...]
"""The atoms of a tensor, dimension by dimension."""

FIXED = 0
"""The atom of all positions that stay, whatever is pruned."""


def fixed(shape: Iterable[int]) -> Layout:
    """Return the layout of a tensor that no channel is cut from."""
    return tuple(np.full(size, FIXED, np.int64) for size in shape)


class Atoms:
    """A union-find over atoms. Tied atoms go together; what is tied to `FIXED` stays."""

    def __init__(self) -> None:
        self._parents = np.zeros(1, np.int64)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._parents)

    def fresh(self, shape: Iterable[int]) -> Layout:
        """Return the layout of a tensor all of whose positions are new atoms."""
        return tuple(self._grown(size) for size in shape)

    def _grown(self, size: int) -> Axis:
        first = len(self._parents)
        new = np.arange(first, first + size, dtype=np.int64)
        self._parents = np.concatenate([self._parents, new])
        return new

    def roots(self, axis: Axis) -> Axis:
        """Return the atom that stands for each and all that it is tied to; `FIXED` where the position stays."""
        found = self._parents[axis]
        while (found != (above := self._parents[found])).any():
            found = above
        self._parents[axis] = found
        return found

    def prunable(self, axis: Axis) -> bool:
        """Return whether any of the positions may still go."""
        return bool(self.roots(axis).any())

    def tie(self, one: Axis, other: Axis) -> None:
        """Tie the atoms of two dimensions of one size, position by position; a single atom on either side is tied to all of the other."""
        pairs = np.stack(np.broadcast_arrays(self.roots(one), self.roots(other))).reshape(2, -1)
        for pair in np.unique(pairs[:, pairs[0] != pairs[1]], axis=1).T:
            low, high = sorted(self.roots(pair).tolist())
            # The smallest stands for all, so that `FIXED` stands for what is tied to it.
            self._parents[high] = low

    def fix(self, *axes: Axis) -> None:
        """Let all positions of these dimensions stay."""
        for axis in axes:
            self.tie(axis, np.array([FIXED]))

    def blocks(self, axis: Axis, count: int) -> Axis:
        """Tie the positions of each of `count` consecutive blocks of a dimension, and return an atom of each block."""
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

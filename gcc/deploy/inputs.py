"""Which inputs a generator takes, found by trying shapes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gcc.errors import GccError


def random_input(shape: Sequence[int]) -> Tensor:
    """Return an input of this shape, (N, ...): an image's values in [-1, 1], or noise; always the same."""
    values = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0))
    return values.clamp(-1, 1) if len(shape) == 4 else values


@dataclass(frozen=True)
class Inputs:
    """The inputs that a generator takes: any number of samples, each of a fixed shape or an image of many sizes.

    Attributes:
        shape: of one sample for which costs are given, such as (3, 256, 256).
        step: height and width are multiples of this; none where the shape is fixed.
        least: the smallest height and width.
    """

    shape: tuple[int, ...]
    step: int | None = None
    least: int = 0

    @classmethod
    def of(cls, network: nn.Module, example: Tensor) -> Inputs:
        """Return the inputs that `network`, which takes `example` (1, ...), accepts; only shapes are computed.

        Steps that are powers of two are tried. A size is accepted where the output grows by the same factor as that of `example`.
        """
        shape = tuple(example.shape[1:])
        if example.ndim != 4:
            return cls(shape)
        tried = _Tried(network, example)
        height, width = shape[1:]
        steps = (1 << power for power in range(min(height, width).bit_length()))
        for step in steps:
            even = height % step == 0 and width % step == 0
            if even and tried.accepts(height + step, width) and tried.accepts(height, width + step):
                return cls(shape, step, next(size for size in range(step, max(height, width) + 1, step) if tried.accepts(size, size)))
        return cls(shape)

    def sized(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one sample of this height and width."""
        return self.shape[0], height, width

    def of_size(self, size: int) -> tuple[int, ...]:
        """Return the shape of one sample of this height and width, if it is taken.

        Raises:
            GccError: it is not.
        """
        if self.step is None or size < self.least or size % self.step:
            raise GccError(f"size {size}: this generator takes {self}")
        return self.sized(size, size)

    def trials(self) -> Iterator[tuple[int, ...]]:
        """Yield shapes (N, ...) that tell whether something takes all that the generator takes: several batches, and sizes where it can."""
        yield 1, *self.shape
        yield 3, *self.shape
        if self.step is not None:
            _, height, width = self.shape
            yield 1, *self.sized(height + self.step, width)
            yield 2, *self.sized(height, width + 2 * self.step)
            if self.least < min(height, width):
                yield 1, *self.sized(self.least, self.least)

    def __str__(self) -> str:
        """Say which inputs these are, such as `Nx3xHxW, H and W multiples of 4 from 8 up`."""
        if self.step is None:
            return "x".join(map(str, ("N", *self.shape)))
        sizes = f"multiples of {self.step} from {self.least} up" if self.step > 1 else f"any from {self.least} up"
        return f"Nx{self.shape[0]}xHxW, H and W {sizes}"


class _Tried:
    """What a network makes of images of other sizes than the example's."""

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.network = deepcopy(network).eval().to("meta")
        self.channels, self.height, self.width = example.shape[1:]
        self.made = self._made(self.height, self.width)

    def accepts(self, height: int, width: int) -> bool:
        try:
            made = self._made(height, width)
        except (RuntimeError, ValueError):
            return False
        return made[1] * self.height == self.made[1] * height and made[2] * self.width == self.made[2] * width

    def _made(self, height: int, width: int) -> torch.Size:
        with torch.no_grad():
            made: Tensor = self.network(torch.empty(1, self.channels, height, width, device="meta"))
        return made.shape[1:]

"""The inputs that a generator accepts: finds them by trying shapes, and creates some."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcc.errors import GccError
from gcc.registry import Architecture


def random_input(shape: Sequence[int]) -> Tensor:
    """Return an input of this shape, (N, ...): an image in [-1, 1], or noise; the same at every call."""
    values = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0))
    return values.clamp(-1, 1) if len(shape) == 4 else values


def noise(architecture: Architecture[Any], numbers: Sequence[int], seed: int) -> Tensor:
    """Return numbered inputs of a family that takes noise, (N, ...); each depends only on the seed and its number."""
    inputs = (architecture.sample_z(np.random.default_rng((seed, number))) for number in numbers)
    return torch.stack([z for z in inputs if z is not None])


@dataclass(frozen=True)
class Inputs:
    """The inputs that a generator accepts: any number of samples, each of a fixed shape or an image of many sizes.

    Attributes:
        shape: shape of the sample that costs refer to, such as (3, 256, 256).
        step: height and width must be multiples of this; None if the shape is fixed.
        min_size: the smallest height and width.
    """

    shape: tuple[int, ...]
    step: int | None = None
    min_size: int = 0

    @classmethod
    def of(cls, network: nn.Module, example: Tensor) -> Inputs:
        """Return the inputs that `network` accepts, given one `example` (1, ...); computes shapes only.

        Tries steps that are powers of two. A size is accepted if the output is larger by the same factor as for `example`.
        """
        shape = tuple(example.shape[1:])
        if example.ndim != 4:
            return cls(shape)
        trial = _Trial(network, example)
        height, width = shape[1:]
        steps = (1 << power for power in range(min(height, width).bit_length()))
        for step in steps:
            even = height % step == 0 and width % step == 0
            if even and trial.accepts(height + step, width) and trial.accepts(height, width + step):
                return cls(shape, step, next(size for size in range(step, max(height, width) + 1, step) if trial.accepts(size, size)))
        return cls(shape)

    def sized(self, height: int, width: int) -> tuple[int, ...]:
        """Return the shape of one sample of this height and width."""
        return self.shape[0], height, width

    def of_size(self, width: int, height: int) -> tuple[int, ...]:
        """Return the shape of one sample of this size.

        Raises:
            GccError: the generator does not accept this size.
        """
        if self.step is None or min(width, height) < self.min_size or width % self.step or height % self.step:
            size = width if width == height else f"{width}x{height}"
            raise GccError(f"size {size}: this generator takes {self}")
        return self.sized(height, width)

    def probe_shapes(self) -> Iterator[tuple[int, ...]]:
        """Yield shapes (N, ...) that show whether another program accepts the same inputs: several batch sizes and image sizes."""
        yield 1, *self.shape
        yield 3, *self.shape
        if self.step is not None:
            _, height, width = self.shape
            yield 1, *self.sized(height + self.step, width)
            yield 2, *self.sized(height, width + 2 * self.step)
            if self.min_size < min(height, width):
                yield 1, *self.sized(self.min_size, self.min_size)

    def __str__(self) -> str:
        """Describe the inputs, such as `Nx3xHxW, H and W multiples of 4 from 8 up`."""
        if self.step is None:
            return "x".join(map(str, ("N", *self.shape)))
        sizes = f"multiples of {self.step} from {self.min_size} up" if self.step > 1 else f"any from {self.min_size} up"
        return f"Nx{self.shape[0]}xHxW, H and W {sizes}"


class _Trial:
    """Compares a network's output shape for other image sizes with that for the example."""

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.network = deepcopy(network).eval().to("meta")
        self.channels, self.height, self.width = example.shape[1:]
        self.output = self._output(self.height, self.width)

    def accepts(self, height: int, width: int) -> bool:
        try:
            output = self._output(height, width)
        except Exception:  # A user's code can raise anything.
            return False
        return output[1] * self.height == self.output[1] * height and output[2] * self.width == self.output[2] * width

    def _output(self, height: int, width: int) -> torch.Size:
        with torch.no_grad():
            fake: Tensor = self.network(torch.empty(1, self.channels, height, width, device="meta"))
        return fake.shape[1:]

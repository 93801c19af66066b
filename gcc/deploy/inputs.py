"""The inputs that a generator accepts: finds them by trying shapes, and creates some."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from gcc.registry import Architecture, Inputs


def random_input(shape: Sequence[int]) -> Tensor:
    """Return an input of this shape, (N, ...): an image in [-1, 1], or noise; the same at every call."""
    values = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0))
    return values.clamp(-1, 1) if len(shape) == 4 else values


def width_and_height(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return the width and the height of images whose size is given by both, or by one number for both."""
    return size if isinstance(size, tuple) else (size, size)


def padded(image: Tensor, multiple: int) -> Tensor:
    """Return an image (1, C, H, W) that is padded at the right and the bottom to multiples.

    The padding mirrors the image if that is large enough, and repeats its edge otherwise.
    """
    height, width = image.shape[2:]
    right, bottom = -width % multiple, -height % multiple
    mode = "reflect" if right < width and bottom < height else "replicate"
    return pad(image, (0, right, 0, bottom), mode) if right or bottom else image


def noise(architecture: Architecture[Any], numbers: Sequence[int], seed: int) -> Tensor:
    """Return numbered inputs of a family that takes noise, (N, ...); each depends only on the seed and its number."""
    inputs = (architecture.sample_z(np.random.default_rng((seed, number))) for number in numbers)
    return torch.stack([z for z in inputs if z is not None])


def accepted_inputs(network: nn.Module, example: Tensor) -> Inputs:
    """Return the inputs that `network` accepts, given one `example` (1, ...); computes shapes only.

    Tries steps that are powers of two. A size is accepted if the output is larger by the same factor as for `example`.
    """
    shape = tuple(example.shape[1:])
    if example.ndim != 4:
        return Inputs(shape)
    trial = _Trial(network, example)
    height, width = shape[1:]
    steps = (1 << power for power in range(min(height, width).bit_length()))
    for step in steps:
        even = height % step == 0 and width % step == 0
        if even and trial.accepts(height + step, width) and trial.accepts(height, width + step):
            return Inputs(shape, step, next(size for size in range(step, max(height, width) + 1, step) if trial.accepts(size, size)))
    return Inputs(shape)


def output_shape(network: nn.Module, inputs: Inputs) -> tuple[int, ...]:
    """Return the shape of the image for one sample, (C, H, W); computes shapes only."""
    with torch.no_grad():
        fake: Tensor = deepcopy(network).eval().to("meta")(torch.empty(1, *inputs.shape, device="meta"))
    return tuple(fake.shape[1:])


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

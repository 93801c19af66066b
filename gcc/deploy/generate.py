"""Making images from noise with a saved generator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gcc.artifacts.model import only, read
from gcc.data.images import write_image
from gcc.errors import GccError
from gcc.evaluation.grid import GRID
from gcc.models.modules import require_finite
from gcc.registry import Architecture
from gcc.utils.device import choose_device
from gcc.utils.files import replacing, require_empty

BATCH = 64
SHOWN = 64
"""Images in the grid, at most."""
GAP = 2


def generate(student: Path, target: Path, *, count: int, seed: int, device: str) -> Iterator[Path]:
    """Write images from noise, `0000.png` and so on, and `grid.png` with the first of them, and yield the files as they are written.

    Image i depends on `seed` and i alone.

    Args:
        student: folder of the saved generator.
        target: folder for the images, empty or new.
        count: how many.
        seed: of the noise.
        device: where to run.

    Raises:
        GccError: the generator cannot be read or takes images, or the output cannot be written.
    """
    artifact = only(read(student))
    place = choose_device(device)
    if artifact.architecture.sample_z(np.random.default_rng()) is None:
        raise GccError(f"{student} is a {artifact.arch} generator, which takes images and no noise: use gcc translate")
    require_empty(target)
    network = artifact.network().to(place)
    first: list[Tensor] = []
    for start in range(0, count, BATCH):
        numbers = range(start, min(count, start + BATCH))
        with torch.inference_mode():
            made = network(_noises(artifact.architecture, numbers, seed).to(place)).cpu()
        require_finite(made)
        first += made[: SHOWN - len(first)]
        for number, image in zip(numbers, made, strict=True):
            yield _written(target / f"{number:04d}.png", image)
    yield _written(target / GRID, _grid(first))


def _noises(architecture: Architecture[Any], numbers: range, seed: int) -> Tensor:
    random_input = (architecture.sample_z(np.random.default_rng((seed, number))) for number in numbers)
    return torch.stack([z for z in random_input if z is not None])


def _written(path: Path, image: Tensor) -> Path:
    with replacing(path) as fresh:
        write_image(fresh, image)
    return path


def _grid(images: list[Tensor]) -> Tensor:
    """Return images (3, H, W) as one, nearly square, with white between them."""
    from torchvision.utils import make_grid

    grid: Tensor = make_grid(images, nrow=int(np.ceil(len(images) ** 0.5)), padding=GAP, pad_value=1.0)
    return grid

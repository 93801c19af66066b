"""Generates images from noise with a saved generator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gcc.artifacts.config import Factory
from gcc.artifacts.model import read, single_generator
from gcc.data.writing import FLOAT, VALUE_SUFFIXES, suffix_for, write_image
from gcc.deploy.inputs import noise
from gcc.errors import GccError
from gcc.evaluation.grid import GRID
from gcc.models.channels import as_rgb
from gcc.models.modules import require_finite
from gcc.recipe import Range, data_range
from gcc.utils.device import choose_device
from gcc.utils.files import replacing, require_empty

BATCH = 64
GRID_IMAGES = 64
"""Maximum number of images in the grid."""
GAP = 2


def generate(
    student: Path, target: Path, *, count: int, seed: int, device: str, suffix: str = "", factory: Factory | None = None
) -> Iterator[Path]:
    """Generate images `0000.png` and so on, and `grid.png` with the first of them; yield each file when it is written.

    Image i depends only on `seed` and i. NumPy files, (C, H, W), and TIFF files hold float32 in the range of the training data, or in
    [-1, 1] if none was stated.

    Args:
        student: folder of the saved generator.
        target: folder for the images, empty or new.
        count: number of images.
        seed: seed of the noise.
        device: where to run.
        suffix: `.png`, `.tif` or `.npy`; empty takes `.npy` for images with other than 1, 3 or 4 channels, and `.png` for others.
        factory: returns the full generator, such as its class, if the generator is your own; see `gcc.load`.

    Raises:
        GccError: the generator cannot be read or takes images, or the output cannot be written.
    """
    artifact = single_generator(read(student, factory=factory))
    on_device = choose_device(device)
    if not artifact.architecture.takes_noise:
        raise GccError(f"the generator in {student} ({artifact.arch}) takes images, not noise: use gcc translate")
    require_empty(target)
    network = artifact.network().to(on_device)
    first: list[Tensor] = []
    for start in range(0, count, BATCH):
        numbers = range(start, min(count, start + BATCH))
        with torch.inference_mode():
            fake = network(noise(artifact.architecture, numbers, seed).to(on_device)).cpu()
        require_finite(fake)
        first += as_rgb(fake[: GRID_IMAGES - len(first)])
        for number, image in zip(numbers, fake, strict=True):
            yield _write(target / f"{number:04d}{suffix or suffix_for(len(image))}", image, data_range(artifact.recipe))
    yield _write(target / GRID, _tiled(first))


def _write(path: Path, image: Tensor, value_range: Range | None = None) -> Path:
    with replacing(path) as fresh:
        write_image(fresh, image, FLOAT if path.suffix in VALUE_SUFFIXES else None, value_range)
    return path


def _tiled(images: list[Tensor]) -> Tensor:
    """Return images (3, H, W) as one nearly square image, with white gaps."""
    from torchvision.utils import make_grid

    grid: Tensor = make_grid(images, nrow=int(np.ceil(len(images) ** 0.5)), padding=GAP, pad_value=1.0)
    return grid

"""Runs a generator on an image of any size: padded to the sizes that it accepts, and in tiles if it keeps positions."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gcc.deploy.inputs import padded
from gcc.errors import GccError, first_line
from gcc.models.modules import require_finite

TILE = 512
"""Height and width of the tiles that large images are split into."""


def padded_run(network: nn.Module, image: Tensor, multiple: int, radius: int | None) -> Tensor:
    """Return a network's output for an image (1, C, H, W) that is `padded` to multiples, without the padding.

    Raises:
        GccError: the network cannot run at this size, or its output is not finite.
    """
    height, width = image.shape[2:]
    whole = padded(image, multiple)
    fake = _run(network, whole, radius)
    scale = fake.shape[2] // whole.shape[2]
    return fake if whole is image else fake[:, :, : scale * height, : scale * width]


def in_tiles(network: nn.Module, image: Tensor, radius: int, tile: int = TILE) -> Tensor:
    """Run a network on an image (1, C, H, W) tile by tile, and return the output. Tiles overlap in the input, which avoids seams.

    Args:
        network: keeps positions and may enlarge the image.
        image: of any size.
        radius: radius of the receptive field, in input pixels.
        tile: height and width of a tile without the overlap.
    """
    rows = [
        torch.cat([_tile(network, image, radius, top, left, tile) for left in range(0, image.shape[3], tile)], dim=3)
        for top in range(0, image.shape[2], tile)
    ]
    return torch.cat(rows, dim=2)


def _tile(network: nn.Module, image: Tensor, radius: int, top: int, left: int, tile: int) -> Tensor:
    first_row, first_column = max(0, top - radius), max(0, left - radius)
    crop = image[:, :, first_row : top + tile + radius, first_column : left + tile + radius]
    fake: Tensor = network(crop)
    scale = fake.shape[2] // crop.shape[2]
    down, right = scale * (top - first_row), scale * (left - first_column)
    return fake[:, :, down : down + scale * tile, right : right + scale * tile]


def _run(network: nn.Module, image: Tensor, radius: int | None) -> Tensor:
    try:
        fake: Tensor = network(image) if radius is None else in_tiles(network, image, radius)
    except RuntimeError as error:
        size = f"{image.shape[3]}x{image.shape[2]}"
        raise GccError(f"the generator cannot run at {size} pixels ({first_line(error)}): give another `size`") from error
    require_finite(fake)
    return fake

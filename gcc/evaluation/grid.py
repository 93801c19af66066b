"""Sample grids."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw
from torch import Tensor

from gcc.data.images import to_image
from gcc.models.channels import as_rgb

GRID = "grid.png"
"""Name of the file with the sample grid, which `gcc generate` writes next to its images."""
GRID_SAMPLES = 6
"""Held-out samples in the grids of a run."""
GAP = 4
TITLE = 18
SMALLEST = 96


def sample_grid(columns: Mapping[str, Tensor]) -> Image.Image:
    """Return a picture with a titled column per entry and a row per sample.

    Args:
        columns: images by title, each (N, C, H, W) in [-1, 1], shown as `as_rgb` returns them; small images are enlarged by an integer
            factor so that titles fit.
    """
    first = next(iter(columns.values()))
    rows, _, height, width = first.shape
    scale = max(1, -(-SMALLEST // width))
    cell_width, cell_height = scale * width + GAP, scale * height + GAP
    grid = Image.new("RGB", (len(columns) * cell_width + GAP, rows * cell_height + GAP + TITLE), "white")
    draw = ImageDraw.Draw(grid)
    for column, (title, images) in enumerate(columns.items()):
        left = GAP + column * cell_width
        draw.text((left, GAP), title, fill="black")
        for row, image in enumerate(images):
            enlarged = to_image(as_rgb(image)).resize((scale * image.shape[2], scale * image.shape[1]), Image.Resampling.NEAREST)
            grid.paste(enlarged, (left, GAP + TITLE + row * cell_height))
    return grid

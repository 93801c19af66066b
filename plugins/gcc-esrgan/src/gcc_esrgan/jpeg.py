"""JPEG compression in torch, with libjpeg's tables, chroma subsampling and upsampling (ITU-T T.81; T.871 for the colours)."""

from __future__ import annotations

from math import pi

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate, pad

BLOCK = 8
LUMINANCE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Quantisation of luminance at quality 50 (T.81, Table K.1)."""
CHROMINANCE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * BLOCK,) * 4,
)
"""Quantisation of chrominance at quality 50 (T.81, Table K.2)."""
RED, GREEN, BLUE = 0.299, 0.587, 0.114
"""Shares of the colours in luminance (T.871)."""
COLOURS = (
    (RED, GREEN, BLUE),
    (-RED / (2 - 2 * BLUE), -GREEN / (2 - 2 * BLUE), 0.5),
    (0.5, -GREEN / (2 - 2 * RED), -BLUE / (2 - 2 * RED)),
)
"""Luminance and both chrominances, minus their offset, by red, green and blue (T.871)."""
GREY = 128
"""Level that is subtracted before the transform; offset of chrominance."""


def compressed(image: Tensor, quality: int, *, subsampled: bool = True) -> Tensor:
    """Return an image as it is after compression to 8-bit JPEG.

    Args:
        image: (3, H, W) in [0, 1].
        quality: from 1 to 100.
        subsampled: halve the size of chrominance (4:2:0), as most programs do.
    """
    height, width = image.shape[1:]
    matrix = torch.tensor(COLOURS, dtype=torch.float64)
    offset = image.new_tensor([0, GREY, GREY]).view(3, 1, 1)
    planes = (torch.einsum("rc,chw->rhw", matrix.to(image), (255 * image).round()) + offset).round()
    unit = 2 * BLOCK if subsampled else BLOCK
    planes = pad(planes[None], (0, -width % unit, 0, -height % unit), mode="replicate")[0]
    luminance, chrominance = planes[:1], planes[1:]
    if subsampled:
        chrominance = avg_pool2d(chrominance, 2).round()
    luminance = _quantised(luminance, quantisation_table(LUMINANCE, quality).to(image))
    chrominance = _quantised(chrominance, quantisation_table(CHROMINANCE, quality).to(image))
    if subsampled:
        chrominance = chrominance[:, : -(-height // 2), : -(-width // 2)]
        chrominance = interpolate(chrominance[None], scale_factor=2.0, mode="bilinear", align_corners=False)[0].round()
    planes = torch.cat([luminance[:, :height, :width], chrominance[:, :height, :width]])
    return torch.einsum("rc,chw->rhw", matrix.inverse().to(image), planes - offset).round().clamp(0, 255) / 255


def quantisation_table(table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Return a table for quality 50 as libjpeg scales it for another one, (8, 8) in float64."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = torch.div(torch.tensor(table) * percent + 50, 100, rounding_mode="floor")
    return scaled.clamp(1, 255).double()


def cosines() -> Tensor:
    """Return the orthonormal matrix of the discrete cosine transform of 8 numbers, (8, 8) in float64."""
    frequency, position = torch.arange(BLOCK).double()[:, None], torch.arange(BLOCK).double()
    matrix = torch.cos((2 * position + 1) * frequency * pi / (2 * BLOCK)) / 2
    matrix[0] /= 2**0.5
    return matrix


def _quantised(planes: Tensor, table: Tensor) -> Tensor:
    """Return planes (N, H, W) of levels in 0 .. 255 after the quantisation of their blocks' transform; H and W are multiples of 8."""
    count, height, width = planes.shape
    transform = cosines().to(planes)
    blocks = planes.view(count, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(2, 3) - GREY
    coefficients = transform @ blocks @ transform.T
    blocks = transform.T @ ((coefficients / table).round() * table) @ transform
    return (blocks + GREY).round().clamp(0, 255).transpose(2, 3).reshape(count, height, width)

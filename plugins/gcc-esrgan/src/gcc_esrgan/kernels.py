"""Blur kernels (Wang et al. 2021, sections 3.1, 3.3 and 4.1), each (size, size) in float64, of odd size and sum 1."""

from __future__ import annotations

from math import cos, pi, sin

import torch
from torch import Tensor
from torch.nn.functional import conv2d


def gaussian(size: int, sigmas: tuple[float, float], angle: float = 0.0, beta: float = 1.0) -> Tensor:
    """Return `exp(-q^beta / 2)`, where q is the squared distance from the centre in standard deviations.

    Args:
        size: height and width.
        sigmas: standard deviations along both axes; equal ones give an isotropic kernel.
        angle: of the first axis, in radians.
        beta: shape; 1 is a Gaussian, and others generalise it (Liu et al. 2020).
    """
    return _normalised(torch.exp(-0.5 * _squared_distances(size, sigmas, angle) ** beta))


def plateau(size: int, sigmas: tuple[float, float], angle: float = 0.0, beta: float = 1.0) -> Tensor:
    """Return `1 / (1 + q^beta)`, with a flat top; see `gaussian` for the arguments."""
    return _normalised(1 / (1 + _squared_distances(size, sigmas, angle) ** beta))


def sinc(size: int, cutoff: float) -> Tensor:
    """Return the circular low-pass filter `cutoff J1(cutoff r) / (2 pi r)`, which causes ringing; the cutoff is in radians per pixel."""
    y, x = _positions(size)
    radius = torch.hypot(y, x)
    kernel = cutoff * torch.special.bessel_j1(cutoff * radius) / (2 * pi * radius)
    kernel[size // 2, size // 2] = cutoff**2 / (4 * pi)
    return _normalised(kernel)


def filtered(image: Tensor, kernel: Tensor) -> Tensor:
    """Return an image, (C, H, W), filtered by a kernel that is symmetric about its centre; borders are reflected, as often as it takes."""
    rows, columns = (_reflected(length, len(kernel) // 2).to(image.device) for length in image.shape[1:])
    padded = image[:, rows][:, :, columns]
    # Fourier transforms would be faster on a CPU, but their rounding depends on the number of threads.
    return conv2d(padded[:, None], kernel.to(image)[None, None])[:, 0]


def _positions(size: int) -> tuple[Tensor, Tensor]:
    """Return the vertical and the horizontal offset from the centre, (size, 1) and (1, size)."""
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    return offsets[:, None], offsets[None]


def _squared_distances(size: int, sigmas: tuple[float, float], angle: float) -> Tensor:
    y, x = _positions(size)
    along, across = x * cos(angle) + y * sin(angle), y * cos(angle) - x * sin(angle)
    return (along / sigmas[0]) ** 2 + (across / sigmas[1]) ** 2


def _normalised(kernel: Tensor) -> Tensor:
    return kernel / kernel.sum()


def _reflected(length: int, margin: int) -> Tensor:
    """Return the positions of a line with a margin on both sides, reflected at its first and its last pixel."""
    period = max(1, 2 * (length - 1))
    positions = torch.arange(-margin, length + margin).remainder(period)
    return torch.minimum(positions, period - positions) if length > 1 else torch.zeros_like(positions)

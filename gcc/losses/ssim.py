"""Structural similarity (Wang et al. 2004), as the evaluators `ssim` and `ssim_y` and the distiller `omgd` compute it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

WINDOW = 11
SIGMA = 1.5


def structural_similarity(fake: Tensor, real: Tensor, peak: float) -> Tensor:
    """Return the SSIM of image pairs, averaged over channels and over all positions where the whole window fits, (N,).

    With means m, variances v and covariance c under a Gaussian window, `c1 = (0.01 peak)^2` and `c2 = (0.03 peak)^2`:
    `(2 m_fake m_real + c1) (2 c + c2) / ((m_fake^2 + m_real^2 + c1) (v_fake + v_real + c2))`.

    Args:
        fake: (N, C, H, W) in [0, `peak`], float64 since differences of squares lose digits; H and W are at least 11.
        real: of the same shape and type.
        peak: the largest value that a pixel can have.
    """
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mean_fake, mean_real = _windowed(fake), _windowed(real)
    variances = _windowed(fake.square()) - mean_fake.square() + _windowed(real.square()) - mean_real.square()
    covariance = _windowed(fake * real) - mean_fake * mean_real
    luminance = (2 * mean_fake * mean_real + c1) / (mean_fake.square() + mean_real.square() + c1)
    return (luminance * (2 * covariance + c2) / (variances + c2)).flatten(1).mean(1)


def _windowed(images: Tensor) -> Tensor:
    """Return the Gaussian-weighted means of images (N, C, H, W), (N, C, H - 10, W - 10)."""
    offsets = torch.arange(WINDOW, dtype=images.dtype, device=images.device) - WINDOW // 2
    weights = (-offsets.square() / (2 * SIGMA**2)).softmax(0)
    rows = conv2d(images.flatten(0, 1)[:, None], weights.view(1, 1, -1, 1))
    return conv2d(rows, weights.view(1, 1, 1, -1)).view(*images.shape[:2], *(size - WINDOW + 1 for size in images.shape[2:]))

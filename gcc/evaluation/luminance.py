"""Figures of super-resolution, on the luminance alone."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from gcc.data.images import to_bytes
from gcc.errors import DataError
from gcc.evaluation.pixels import decibels
from gcc.registry.evaluator import ImageEvaluator
from gcc.registry.types import EvalSample

BORDER = 4
"""Pixels that are left out on every side, where an enlarged image lacks context."""
WINDOW = 11
SIGMA = 1.5
PEAK = 255
LUMA = (65.481, 128.553, 24.966)
"""Shares of red, green and blue in [0, 1] in the luminance (ITU-R BT.601, studio swing)."""


class PSNRY(ImageEvaluator):
    """Peak signal-to-noise ratio of the luminance without a border of 4 pixels, averaged over images; larger is better."""

    unit = "dB"
    larger_is_better = True

    def compare(self, sample: EvalSample) -> Tensor:
        return decibels(((luminance(sample.fake) - luminance(sample.real)) / PEAK).square().flatten(1).mean(1))


class SSIMY(ImageEvaluator):
    """Structural similarity (Wang et al. 2004) of the luminance without a border of 4 pixels, averaged over images; larger is better."""

    larger_is_better = True

    def compare(self, sample: EvalSample) -> Tensor:
        fake, real = luminance(sample.fake), luminance(sample.real)
        mean_made, mean_real = _windowed(fake), _windowed(real)
        variances = _windowed(fake.square()) - mean_made.square() + _windowed(real.square()) - mean_real.square()
        covariance = _windowed(fake * real) - mean_made * mean_real
        c1, c2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2
        means = (2 * mean_made * mean_real + c1) / (mean_made.square() + mean_real.square() + c1)
        return (means * (2 * covariance + c2) / (variances + c2)).flatten(1).mean(1)


def luminance(images: Tensor) -> Tensor:
    """Return the luminance of images (N, 3, H, W) in [-1, 1], rounded to 8 bits, without the border: (N, 1, H - 8, W - 8) in [16, 235].

    Raises:
        DataError: the images are too small for a window of SSIM.
    """
    height, width = images.shape[-2:]
    least = 2 * BORDER + WINDOW
    if min(height, width) < least:
        raise DataError(
            f"an image of {width}x{height} pixels is too small for PSNR and SSIM: expected at least {least}x{least}; leave it out"
        )
    levels = to_bytes(images[..., BORDER:-BORDER, BORDER:-BORDER]).double()
    return 16 + conv2d(levels / 255, levels.new_tensor(LUMA).view(1, 3, 1, 1))


def _windowed(values: Tensor) -> Tensor:
    """Return the Gaussian mean around every place where the whole window fits."""
    places = torch.arange(WINDOW, dtype=values.dtype, device=values.device) - WINDOW // 2
    weights = (-places.square() / (2 * SIGMA**2)).softmax(0)
    return conv2d(conv2d(values, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))

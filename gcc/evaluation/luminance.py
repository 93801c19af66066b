"""Metrics of super-resolution, on the luminance alone."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import conv2d

from gcc.data.images import to_bytes
from gcc.errors import DataError
from gcc.evaluation.pixels import decibels
from gcc.losses.ssim import WINDOW, structural_similarity
from gcc.registry.evaluator import ImageEvaluator
from gcc.registry.types import EvalSample

BORDER = 4
"""Pixels that are left out at every edge, where an enlarged image lacks context."""
PEAK = 255
LUMA = (65.481, 128.553, 24.966)
"""Weights of red, green and blue in [0, 1] in the luminance (ITU-R BT.601, studio swing)."""


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
        return structural_similarity(luminance(sample.fake), luminance(sample.real), PEAK)


def luminance(images: Tensor) -> Tensor:
    """Return the luminance of images (N, 3, H, W) in [-1, 1], rounded to 8 bits, without the border: (N, 1, H - 8, W - 8) in [16, 235].

    Raises:
        DataError: the images are smaller than SSIM's window.
    """
    height, width = images.shape[-2:]
    least = 2 * BORDER + WINDOW
    if min(height, width) < least:
        raise DataError(
            f"an image of {width}x{height} pixels is too small for PSNR and SSIM: expected at least {least}x{least}; leave it out"
        )
    levels = to_bytes(images[..., BORDER:-BORDER, BORDER:-BORDER]).double()
    return 16 + conv2d(levels / 255, levels.new_tensor(LUMA).view(1, 3, 1, 1))

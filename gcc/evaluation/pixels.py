"""Pixel-wise distances between a fake image and its real counterpart."""

from __future__ import annotations

from torch import Tensor

from gcc.registry.evaluator import ImageEvaluator
from gcc.registry.types import EvalSample


class L1(ImageEvaluator):
    """Mean absolute error of values in [0, 1], averaged over images; smaller is better."""

    needs_rgb = False
    larger_is_better = False

    def compare(self, sample: EvalSample) -> Tensor:
        return _difference(sample).abs().flatten(1).mean(1)


class PSNR(ImageEvaluator):
    """Peak signal-to-noise ratio of values in [0, 1], averaged over images; larger is better."""

    unit = "dB"
    needs_rgb = False
    larger_is_better = True

    def compare(self, sample: EvalSample) -> Tensor:
        return decibels(_difference(sample).square().flatten(1).mean(1))


def _difference(sample: EvalSample) -> Tensor:
    return (sample.fake.float() - sample.real.float()) / 2


def decibels(error: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio for mean squared errors of values in [0, 1]."""
    # Equal images count 100 dB, so that the mean stays finite.
    return (-10 * error.log10()).clamp(max=100)

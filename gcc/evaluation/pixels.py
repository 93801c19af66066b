"""Distances between a made image and the one true image."""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor

from gcc.registry.contracts import Evaluator


class MeanPerImage(Evaluator):
    """A figure that is computed per image and averaged over images."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []

    @abc.abstractmethod
    def per_image(self, made: Tensor, real: Tensor) -> Tensor:
        """Map images (N, 3, H, W) in [-1, 1] to (N,)."""

    def update(self, made: Tensor, real: Tensor) -> None:
        self._values.append(self.per_image(made, real))

    def compute(self) -> float:
        return float(torch.cat(self._values).mean()) if self._values else math.nan


class L1(MeanPerImage):
    """Mean absolute error of RGB values in [0, 1], averaged over images; smaller is better."""

    unit = ""

    def per_image(self, made: Tensor, real: Tensor) -> Tensor:
        return ((made.float() - real.float()) / 2).abs().flatten(1).mean(1)


class PSNR(MeanPerImage):
    """Peak signal-to-noise ratio of RGB values in [0, 1], averaged over images; larger is better."""

    unit = "dB"

    def per_image(self, made: Tensor, real: Tensor) -> Tensor:
        return decibels(((made.float() - real.float()) / 2).square().flatten(1).mean(1))


def decibels(error: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio for mean squared errors of values in [0, 1]."""
    # An image that is matched exactly counts 100 dB, so that the mean stays finite.
    return (-10 * error.log10()).clamp(max=100)

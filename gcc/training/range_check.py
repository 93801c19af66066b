"""Finds out whether a user's generator was given with the wrong range of values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from gcc.custom.gan import CustomGAN
from gcc.errors import GccError
from gcc.evaluation.split import load_samples
from gcc.models.modules import evaluating
from gcc.models.value_range import USUAL, InRange, ValueRange
from gcc.recipe import range_text
from gcc.registry import Architecture, DatasetSource, Networks

CANDIDATES: tuple[ValueRange, ...] = (USUAL, (0.0, 1.0), (0.0, 255.0))
SAMPLES = 4
PLAUSIBLE = 0.2
"""The largest mean error, for images in [-1, 1], of a trained generator."""
CLEAR = 0.4
"""The share of the error in the given range below which another range is the right one."""
OVERSHOOT = 0.05
"""How far outputs may exceed their range, as a share of it."""
RARE = 0.01
"""The share of the outputs that may exceed their range further."""


@dataclass(frozen=True)
class Trial:
    """What a generator returns if its images have a range.

    Attributes:
        value_range: the range.
        error: the mean absolute difference of the outputs from the real images, both in [-1, 1].
        flat_error: the same difference for images that have the real one's median colour everywhere.
        outputs: the outputs in the range.
    """

    value_range: ValueRange
    error: float
    flat_error: float
    outputs: Tensor

    def exceeds(self, value_range: ValueRange) -> bool:
        """Return whether outputs are beyond another range, apart from a few, or by a little."""
        low, high = value_range
        slack = OVERSHOOT * (high - low)
        outside = (self.outputs < low - slack) | (self.outputs > high + slack)
        return float(outside.float().mean()) > RARE

    def can_replace(self, given: ValueRange) -> bool:
        """Return whether the outputs show the images, are within this range, and need it if it is the wider one.

        A range that is too wide makes any output a nearly constant black image, which is near a dark one.
        """
        if self.error >= self.flat_error:
            return False
        return not self.exceeds(self.value_range) and (_width(self.value_range) <= _width(given) or self.exceeds(given))


@torch.no_grad()
def require_right_range(architecture: Architecture[Any], generators: Networks, data: DatasetSource, hints: Sequence[str]) -> None:
    """Refuse a trained generator whose outputs are near the real images in another range than the one that was given.

    Only outputs with true counterparts can be compared, and only a trained generator's are near them.

    Args:
        architecture: the family.
        generators: the generators, on the CPU.
        data: samples with counterparts.
        hints: texts about images that use few of the values of their type, which may be why the outputs differ.

    Raises:
        GccError: the range is wrong.
    """
    if not isinstance(architecture, CustomGAN):
        return
    given = try_given_range(architecture, generators, data)
    if given is None or given.error < PLAUSIBLE:
        return
    others = [_tried(architecture, _own(generators), candidate, data) for candidate in CANDIDATES if candidate != given.value_range]
    best = min((other for other in others if other.can_replace(given.value_range)), key=lambda other: other.error, default=given)
    if best.error < min(PLAUSIBLE, CLEAR * given.error):
        text = range_text(best.value_range)
        raise GccError(
            f"the generator's output differs from the real images by {given.error:.2g} with value_range = {range_text(given.value_range)}, "
            f'and by {best.error:.2g} with {text}: give `value_range="{text}"`; if the images do not use all values of their type, give '
            f"theirs as `range` instead{''.join(f' ({hint})' for hint in hints)}"
        )


@torch.no_grad()
def try_given_range(architecture: Architecture[Any], generators: Networks, data: DatasetSource) -> Trial | None:
    """Return what a user's generator returns for real images in the range that was given; None if outputs have no true counterparts."""
    if not isinstance(architecture, CustomGAN) or not architecture.paired:
        return None
    return _tried(architecture, _own(generators), architecture.networks.value_range, data)


def _own(generators: Networks) -> nn.Module:
    """Return the only generator, with images in its own range."""
    (network,) = generators.values()
    return network.network if isinstance(network, InRange) else network


def _tried(architecture: CustomGAN[Any], own: nn.Module, value_range: ValueRange, data: DatasetSource) -> Trial:
    """Return what a generator returns for real images if its own have a range."""
    low, high = value_range
    network = architecture.in_range(own, value_range)
    errors, flat_errors, outputs = [], [], []
    for index in range(min(SAMPLES, len(data))):
        batch = load_samples(data, architecture.sample_z, [index], torch.device("cpu"))
        with evaluating(network):
            samples = architecture.generate({"G": network}, batch)
        (sample,) = architecture.eval_samples(batch, samples).values()
        errors.append(_difference(sample.fake, sample.real))
        flat_errors.append(_difference(sample.real.flatten(2).median(2).values[..., None, None], sample.real))
        outputs.append((sample.fake.flatten() + 1) * ((high - low) / 2) + low)
    return Trial(value_range, mean(errors), mean(flat_errors), torch.cat(outputs))


def _difference(fake: Tensor, real: Tensor) -> float:
    return float((fake - real).abs().mean())


def _width(value_range: ValueRange) -> float:
    low, high = value_range
    return high - low

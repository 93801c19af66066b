"""Finds out whether a user's generator was given with the wrong range of values."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

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


@torch.no_grad()
def require_right_range(architecture: Architecture[Any], generators: Networks, data: DatasetSource) -> None:
    """Refuse a trained generator whose outputs are near the real images in another range than the one that was given.

    Only outputs with true counterparts can be compared, and only a trained generator's are near them.

    Args:
        architecture: the family.
        generators: the generators, on the CPU.
        data: samples with counterparts.

    Raises:
        GccError: the range is wrong.
    """
    if not isinstance(architecture, CustomGAN) or not architecture.paired:
        return
    (network,) = generators.values()
    own: Any = network.network if isinstance(network, InRange) else network
    given = architecture.networks.value_range
    errors = {candidate: _error(architecture, architecture.in_range(own, candidate), data) for candidate in {*CANDIDATES, given}}
    best = min(errors, key=lambda candidate: errors[candidate])
    if errors[best] < PLAUSIBLE <= errors[given] and errors[best] < CLEAR * errors[given]:
        raise GccError(
            f"the generator's output differs from the real images by {errors[given]:.2g} with value_range = {range_text(given)}, and by "
            f'{errors[best]:.2g} with {range_text(best)}: give `value_range="{range_text(best)}"`; if the images do not use all values of '
            "their type, give theirs as `range` instead"
        )


def _error(architecture: CustomGAN[Any], network: nn.Module, data: DatasetSource) -> float:
    """Return the mean absolute difference of a generator's outputs from the real images."""
    errors = []
    for index in range(min(SAMPLES, len(data))):
        batch = load_samples(data, architecture.sample_z, [index], torch.device("cpu"))
        with evaluating(network):
            samples = architecture.generate({"G": network}, batch)
        (sample,) = architecture.eval_samples(batch, samples).values()
        errors.append((sample.fake - sample.real).abs().mean())
    return float(torch.stack(errors).mean())

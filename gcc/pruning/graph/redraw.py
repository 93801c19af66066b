"""Random parameters for a full network and a smaller one: a gain of zero or rows that are equal hide a wrong cut, random ones do not."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from gcc.models.calls import copy_of
from gcc.pruning.graph.gains import fold_gains
from gcc.pruning.graph.masked import Candidate
from gcc.pruning.graph.propagate import named_tensors
from gcc.pruning.graph.slice import cut

LEAST = 0.5
"""Least size of a random value before it is multiplied, for a fan-in of one."""
FACTORS = (0.5, 1.5)
"""Range of the random factor of each value: the scale of features stays about the same."""
POWER_ITERATION = ("._u", "._v", "weight_u", "weight_v")
"""Ends of the names of the buffers of spectral norm, which belong to their weight."""


@torch.no_grad()
def redrawn(candidate: Candidate) -> Candidate:
    """Return a candidate of copies of both networks with random parameters and statistics, equal where the smaller network keeps them."""
    random = torch.Generator().manual_seed(0)
    full, small = copy_of(candidate.network), copy_of(candidate.smaller)
    of_channels = {tensor.name for tensor in candidate.trace.tensors}
    for name, tensor in {id(tensor): (name, tensor) for name, tensor in named_tensors(full).items()}.values():
        is_drawn = isinstance(tensor, nn.Parameter) or (name in of_channels and not name.endswith(POWER_ITERATION))
        if is_drawn and tensor.is_floating_point():
            tensor.copy_(_drawn(tensor, random))
    shorter = named_tensors(cut(candidate.trace, full, candidate.selection))
    for name, tensor in named_tensors(small).items():
        if name in shorter:
            tensor.copy_(shorter[name])
    if candidate.folded:
        fold_gains(small, candidate.trace.graph, candidate.graph)
    return replace(candidate, network=full, smaller=small)


def _drawn(values: Tensor, random: torch.Generator) -> Tensor:
    """Return random numbers of about the same size and sign as the values; zeros become small numbers of either sign.

    Zeros among positive numbers, such as variances, become positive.
    """
    is_vector = sum(size > 1 for size in values.shape) <= 1
    least = LEAST if is_vector else LEAST * values[0].numel() ** -0.5
    signs = torch.randint(2, values.shape, generator=random).to(values) * 2 - 1
    zeros = torch.ones_like(values) if values.any() and (values >= 0).all() else signs
    factors = torch.empty(values.shape).uniform_(*FACTORS, generator=random).to(values)
    return torch.where(values == 0, zeros, values.sign()) * values.abs().clamp(min=least) * factors

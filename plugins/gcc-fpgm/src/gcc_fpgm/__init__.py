"""Filter pruning via the geometric median (He et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gcc.registry import Group, ImportanceMetric, effective_weight


class GeometricMedian(ImportanceMetric):
    """Rank, within the layer, of a filter's summed distance to the layer's other filters: `sum over j of |F_c - F_j|` (He et al. 2019).

    The filter with the smallest sum is the nearest to the geometric median, and the easiest to replace by the others. If several layers
    are summed into the same channels, a channel's filter consists of all of theirs. Ranks in (0, 1] make layers comparable:
    the paper prunes the same share of every layer.
    """

    l1_strength: ClassVar[float] = 0.0

    def score(self, network: nn.Module, group: Group) -> Tensor:
        """Return the ranks, (channels,)."""
        filters = torch.cat([_outputs(network, group, number) for number in range(len(group.producers))], 1)
        # Not by a matrix product, which loses the digits by which similar filters differ.
        distances = torch.cdist(filters, filters, compute_mode="donot_use_mm_for_euclid_dist").sum(1)
        return (distances.argsort().argsort() + 1) / group.channels

    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return no parameters: distances need no sparsity."""
        return ()


def _outputs(network: nn.Module, group: Group, number: int) -> Tensor:
    """Return the weights of one producer for each channel, (channels, weights)."""
    producer = group.producers[number]
    weight = effective_weight(network, producer.parameter).detach()
    return weight.transpose(0, producer.dim).reshape(group.channels, -1).float()

"""First-order Taylor importance (Molchanov et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from gcc.registry import Group, ImportanceMetric, effective_gradient, effective_weight


class Taylor(ImportanceMetric):
    """Squared first-order change of the loss without a weight, summed over a channel: `sum over w of (g w)^2` (Molchanov et al. 2019).

    `g` is the gradient of the generators' losses on a batch, and the importance is the mean over batches. If several layers are summed
    into the same channels, all of their weights count. The square of the sum, `(sum of g w)^2`, is useless: before a norm, which undoes any
    scale of a kernel, gradient and kernel are orthogonal.

    `w` is the weight that a layer computes with, whatever spectral norm or weight norm stores. A layer whose parametrisation hides the
    gradient by its weight keeps its channels.
    """

    l1_strength: ClassVar[float] = 0.0
    gradient_batches: ClassVar[int] = 16

    def score(self, network: nn.Module, group: Group) -> Tensor | None:
        """Return the importance, (channels,); None if the gradient by a weight is unknown."""
        scores = []
        for producer in group.producers:
            gradient = effective_gradient(network, producer.parameter)
            if gradient is None:
                return None
            weight = effective_weight(network, producer.parameter).detach()
            changes = (gradient * weight).float().square()
            scores.append(changes.transpose(0, producer.dim).reshape(group.channels, -1).sum(1))
        return torch.stack(scores).sum(0)

    def regularized_parameters(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return no parameters: the loss itself shows the importance."""
        return ()

"""The L1 subgradient of the first step, which separates important channels from others (Li et al. 2021, Algorithm 1, line 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gcc.registry.importance import ImportanceMetric
from gcc.registry.types import Group


def regularized(network: nn.Module, groups: Sequence[Group], metric: ImportanceMetric) -> list[Tensor]:
    """Return the parameters that `metric` regularises, each once even if several groups share it."""
    named = {id(parameter): parameter for group in groups for parameter in metric.regularized_parameters(network, group)}
    return list(named.values())


@torch.no_grad()
def add_subgradient(parameters: Sequence[Tensor], strength: float) -> None:
    """Add the subgradient of `strength * sum |p|` to the gradients: `grad += strength * sign(p)`, with sign(0) = 0.

    Call it after the backward pass, once the gradients are unscaled, and before the optimiser's step. A parameter without a gradient is
    skipped. The host does not wait for the device.
    """
    updated = [parameter for parameter in parameters if parameter.grad is not None]
    grads = [parameter.grad for parameter in updated if parameter.grad is not None]
    if updated:
        torch._foreach_add_(grads, torch._foreach_sign(updated), alpha=strength)

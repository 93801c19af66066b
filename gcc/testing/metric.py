"""The contract of importance metrics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gcc.models.build import build_generators
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import random_gradients
from gcc.registry import METRICS, Architecture, Group, ImportanceMetric
from gcc.testing.common import prunable_widths, require, warn_of_old_names, working_families


def check_metric(name: str) -> None:
    """Check an importance metric on the generators of every working family, with random weights and gradients.

    Args:
        name: registered name of the metric.

    Raises:
        PluginError: the metric breaks its contract; the message says where.
    """
    plugin = METRICS.load(name)
    warn_of_old_names(plugin)
    metric = plugin()
    require(metric.l1_strength >= 0 and metric.gradient_batches >= 0, "l1_strength and gradient_batches must not be negative")
    scores_any = [check_scores(metric, family(family.demo())) for family in working_families()]
    require(any(scores_any), "no channel of any family is scored")


def check_scores(metric: ImportanceMetric, architecture: Architecture[Any]) -> bool:
    """Check a metric's scores for a family's generators, and return whether there are any.

    Raises:
        PluginError: the metric breaks its contract; the message says where.
    """
    groups = find_groups(architecture, architecture.recipe.prune_width)
    scores_any = False
    for network in build_generators(architecture, prunable_widths(architecture), "check").values():
        for _ in random_gradients(network):
            before = _values(network)
            for group in groups:
                scores_any |= _check_score(metric, network, group)
                parameters = {id(parameter) for parameter in network.parameters()}
                own = all(id(tensor) in parameters for tensor in metric.regularized_parameters(network, group))
                require(own, f"regularized_parameters of the width {group.name!r} are not parameters of the generator")
            unchanged = all(torch.equal(value, other) for value, other in zip(before, _values(network), strict=True))
            require(unchanged, "score or regularized_parameters changes the generator or its gradients")
    return scores_any


def _check_score(metric: ImportanceMetric, network: nn.Module, group: Group) -> bool:
    score, again = metric.score(network, group), metric.score(network, group)
    if score is None or again is None:
        return False
    name = f"the score of the width {group.name!r}"
    require(score.shape == (group.channels,), f"{name} has the shape {tuple(score.shape)}: expected ({group.channels},)")
    require(bool(score.isfinite().all()), f"{name} is not finite")
    require(not score.requires_grad, f"{name} carries a graph: compute it from detached weights")
    require(torch.equal(score, again), f"{name} differs when it is computed again")
    return True


def _values(network: nn.Module) -> list[Tensor]:
    gradients = [parameter.grad for parameter in network.parameters() if parameter.grad is not None]
    return [tensor.detach().clone() for tensor in (*network.state_dict().values(), *gradients)]

"""The tools: each prunes a network to half the multiply-accumulates of its example."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from .calls import copied
from .macs import products, total

SEARCH_STEPS = 8
"""Ratios that are tried for tools that take a ratio of channels instead of a budget."""
KIRIGAMI_STEP = 8
"""Channels that torch-kirigami removes at once, where the width is a multiple of it."""
KIRIGAMI_SEARCH_STEPS = 4
"""Ratios that are tried for torch-kirigami, whose search takes most of its time."""


def ours(network: nn.Module, inputs: tuple[Any, ...]) -> nn.Module:
    import gcc
    from gcc.errors import PruningWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        return gcc.prune(network, inputs, metric="l1", budget="50%")


def torch_pruning(network: nn.Module, inputs: tuple[Any, ...]) -> nn.Module:
    """Prune by magnitude over all layers; layers that produce an output stay."""
    import torch_pruning as peer

    def pruned(ratio: float) -> nn.Module:
        smaller = copied(network)
        importance = peer.importance.MagnitudeImportance(p=1)
        peer.pruner.MagnitudePruner(
            smaller, inputs, importance, global_pruning=True, pruning_ratio=ratio, ignored_layers=output_layers(smaller, inputs)
        ).step()
        return smaller

    return half_by_ratio(network, inputs, pruned, SEARCH_STEPS)


def torch_kirigami(network: nn.Module, inputs: tuple[Any, ...]) -> nn.Module:
    """Prune by magnitude to a share of the parameters, in steps of channels that make its search several times faster."""
    from torch_kirigami import DependencyGraph
    from torch_kirigami.pruning import Granularity, Greedy, GroupMagnitude, ParameterBudget, Pruner

    parameters = sum(parameter.numel() for parameter in network.parameters())
    analyzed = copied(network)
    graph = DependencyGraph.build(analyzed, args=inputs)
    axes = Pruner(analyzed, graph=graph).discover_candidates().channel_axes
    steps = {axis.tensor.paths[0].rpartition(".")[0]: math.gcd(KIRIGAMI_STEP, axis.tensor.shape[axis.dim]) for axis in axes}
    pruner = Pruner(analyzed, graph=graph, granularity=Granularity(by_path=steps))
    candidates = pruner.discover_candidates()

    def pruned(ratio: float) -> nn.Module:
        budget = ParameterBudget(max_params=int((1 - ratio) * parameters))
        plan = pruner.plan(candidates, budget=budget, strategy=Greedy(GroupMagnitude(p=1)))
        smaller, _ = Pruner(copied(network)).apply(plan)
        return smaller

    return half_by_ratio(network, inputs, pruned, KIRIGAMI_SEARCH_STEPS)


def half_by_ratio(network: nn.Module, inputs: tuple[Any, ...], pruned: Callable[[float], nn.Module], steps: int) -> nn.Module:
    """Return the largest network within half the multiply-accumulates that a bisection over ratios finds.

    Raises:
        ValueError: none of the ratios reaches half.
    """
    full = total(products(copied(network), inputs))
    low, high, best = 0.0, 1.0, None
    for _ in range(steps):
        ratio = (low + high) / 2
        smaller = pruned(ratio)
        if total(products(smaller, inputs)) <= full / 2:
            best, high = smaller, ratio
        else:
            low = ratio
    if best is None:
        raise ValueError(f"no ratio up to {low:.2f} reaches half the multiply-accumulates")
    return best


def output_layers(network: nn.Module, inputs: tuple[Any, ...]) -> list[nn.Module]:
    """Return the layers whose outputs are the network's outputs, or the last one that runs if none is."""
    storage: dict[int, nn.Module] = {}
    last: list[nn.Module] = []

    def remember(module: nn.Module, args: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            storage[output.data_ptr()] = module
            last[:] = [module]

    layers = [module for module in network.modules() if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)]
    hooks = [module.register_forward_hook(remember) for module in layers]
    with torch.no_grad():
        outputs = torch.utils._pytree.tree_leaves(network(*inputs))
    for hook in hooks:
        hook.remove()
    return [storage[tensor.data_ptr()] for tensor in outputs if isinstance(tensor, Tensor) and tensor.data_ptr() in storage] or last


TOOLS: dict[str, Callable[[nn.Module, tuple[Any, ...]], nn.Module]] = {
    "ours": ours,
    "torch-pruning": torch_pruning,
    "torch-kirigami": torch_kirigami,
}

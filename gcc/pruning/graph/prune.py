"""Pruning of any generator, by its graph: no family, no constructor with widths."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gcc.deploy.latency import measure_ready
from gcc.errors import GccError, near
from gcc.models.modules import shapes_of
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost, cost_of
from gcc.pruning.graph.export import Graph, blaming
from gcc.pruning.graph.groups import Channels, Kept, find_channels, readable
from gcc.pruning.graph.propagate import Trace
from gcc.pruning.graph.reset import reset
from gcc.pruning.graph.rules import BY_TRUNK, RULES
from gcc.pruning.graph.slice import cut
from gcc.pruning.graph.verify import NO_CONSTANTS, require_alike, require_equal
from gcc.pruning.importance import score_groups
from gcc.pruning.search import find_widths, with_min_channels
from gcc.recipe import MacCounter
from gcc.registry import METRICS, ImportanceMetric

Weights = Literal["inherited", "fresh"]
PRECISE = (torch.float32, torch.float64)
"""Types in which what is pruned can be proven equal."""


def prune(
    generator: nn.Module,
    example_input: Tensor | tuple[Tensor, ...],
    metric: str = "slimming",
    budget: str = "25%",
    *,
    counter: MacCounter = "exact",
    keep: float = 0.0,
    round_to: int = 1,
    leave: Collection[str] = (),
    weights: Weights = "inherited",
) -> nn.Module:
    """Return a smaller copy of a generator: the largest within the budget that keeps its most important channels.

    Which channels go together is read off the generator's graph; nothing need be declared. The copy is compared, in evaluation mode and on
    random input, with the generator whose cut channels are held at zero, and is returned only if both give the same.

    >>> import torch
    >>> from torch import nn
    >>> generator = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    >>> smaller = prune(generator, torch.zeros(1, 3, 8, 8), budget="50%")
    >>> smaller[0]
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))

    Args:
        generator: it stays as it is.
        example_input: what it takes, (N, ...), on its device, or all that it takes in a tuple; it fixes the resolution of every cost.
        metric: name of the importance metric that ranks the channels; one that reads gradients reads those that the parameters hold.
        budget: such as `3.0G` or `900M` MACs per sample, `25%`, `2.5Mparams`, `25%params` or `8ms@cpu`; shares are of the generator's cost.
        counter: of MACs, `exact` or `paper`.
        keep: least share of each group's channels that stays.
        round_to: groups that lose channels have a multiple of so many afterwards.
        leave: paths of modules that are not looked into; channels that enter or leave them stay.
        weights: `inherited`, or `fresh`, drawn by every module's `reset_parameters`; what belongs to a module that has none is inherited.

    Raises:
        GccError: an argument cannot be used; or channels cannot be followed through a layer, which the message names.
        BudgetError: the budget is out of reach.
        PluginError: the metric is unknown, or can tell for no channel.
    """
    inputs = example_input if isinstance(example_input, tuple) else (example_input,)
    limit, ranking = _checked(generator, inputs, metric, budget, counter, keep, round_to, leave, weights)
    if ranking.gradient_batches and all(parameter.grad is None for parameter in generator.parameters()):
        raise GccError(f"metric {metric!r} reads gradients, and no parameter has one: call backward() on a loss before")
    trace, channels = _followed(generator, inputs, leave)
    shapes = shapes_of(generator)
    full = _full_cost(shapes, inputs)
    groups = with_min_channels([one.group for one in channels], keep)
    scores = score_groups(readable(generator, channels), groups, ranking)

    def narrowed(network: nn.Module, widths: Mapping[str, int]) -> nn.Module:
        return cut(network, trace, Kept(trace.atoms, channels, {name: range(width) for name, width in widths.items()}))

    def cost(widths: Mapping[str, int]) -> Cost:
        smaller = narrowed(shapes, widths)
        with blaming(smaller, NO_CONSTANTS):
            return cost_of(smaller, *inputs)

    widths = find_widths(
        groups,
        scores,
        limit,
        counter,
        full,
        cost,
        lambda widths, runtime: measure_ready(narrowed(generator, widths), inputs[0], runtime).median_ms,
        round_to,
    )
    kept = Kept(trace.atoms, channels, {name: _best(score, widths[name]) for name, score in scores.items() if score is not None})
    smaller = cut(generator, trace, kept)
    graph = Graph(smaller, *inputs)
    require_alike(trace, kept, graph)
    require_equal(generator, smaller, trace, kept, graph, *inputs)
    if weights == "fresh":
        reset(smaller)
    return smaller


def _checked(
    generator: nn.Module,
    inputs: Sequence[Tensor],
    metric: str,
    budget: str,
    counter: str,
    keep: float,
    round_to: int,
    leave: Collection[str],
    weights: str,
) -> tuple[Budget | LatencyBudget, ImportanceMetric]:
    if not inputs or not all(isinstance(one, Tensor) for one in inputs):
        raise GccError(f"example_input = {type(inputs[0] if inputs else inputs).__name__}: expected a tensor, or a tuple of tensors")
    if not 0 <= keep <= 1 or round_to < 1:
        raise GccError(f"keep = {keep}, round_to = {round_to}: expected a share from 0 to 1, and a number from 1 up")
    if not all(one.numel() for one in inputs):
        raise GccError("example_input is empty: expected one sample or more")
    for name, value, known in (("weights", weights, get_args(Weights)), ("counter", counter, get_args(MacCounter))):
        if value not in known:
            raise GccError(f"{name} = {value!r}: expected {' or '.join(map(repr, known))}")
    for name, parameter in generator.named_parameters():
        if parameter.is_floating_point() and parameter.dtype not in PRECISE:
            raise GccError(f"{name} is {str(parameter.dtype).removeprefix('torch.')}: expected a generator in float32 or float64")
    if isinstance(leave, str):
        raise GccError(f"leave = {leave!r}: expected a list of paths, such as [{leave!r}]")
    paths = {path for path, _ in generator.named_modules() if path}
    for path in leave:
        if path not in paths:
            raise GccError(f"leave has {path!r}, which is no module of the generator{near(path, paths)}")
    (limit,) = Budget.parse_each(budget, ["generator"]).values()
    if isinstance(limit, LatencyBudget) and len(inputs) > 1:
        raise GccError(
            f"budget {budget!r}: times are measured for one input, and {len(inputs)} were given; expected a budget of another kind"
        )
    return limit, METRICS.load(metric)()


def _full_cost(shapes: nn.Module, inputs: Sequence[Tensor]) -> Cost:
    try:
        return cost_of(shapes, *inputs)
    except RuntimeError as error:
        raise GccError(
            f"the generator's cost cannot be told from shapes alone: {error}; expected tensors that are registered as buffers, or that are "
            "made on the device of the input"
        ) from error


def _best(score: Tensor, width: int) -> list[int]:
    """Return the numbers of the most important channels, in their order."""
    return sorted(score.argsort(descending=True, stable=True)[:width].tolist())


def _followed(generator: nn.Module, inputs: Sequence[Tensor], leave: Collection[str]) -> tuple[Trace, list[Channels]]:
    """Return the channel groups of a generator, whose sizes its code follows."""
    graph = Graph(generator, *inputs)
    refusals: list[GccError] = []
    for rules in (RULES, BY_TRUNK):
        trace = Trace(graph, leave, rules)
        channels = find_channels(trace)
        if not channels:
            raise GccError("no channel of this generator can be pruned: expected a convolution or linear layer between two others")
        try:
            _try(generator, inputs, trace, channels)
        except GccError as error:
            refusals.append(error)
        else:
            return trace, channels
    raise refusals[0]


def _try(generator: nn.Module, inputs: Sequence[Tensor], trace: Trace, channels: Sequence[Channels]) -> None:
    """Cut one channel of every group, and see that the generator goes the same way: here sizes that are constants come out."""
    kept = Kept(trace.atoms, channels, {one.group.name: range(one.group.channels - 1) for one in channels})
    try:
        graph = Graph(cut(generator, trace, kept), *inputs)
    except GccError as error:
        raise GccError(f"with a channel fewer, {error}; {NO_CONSTANTS}") from error
    require_alike(trace, kept, graph)

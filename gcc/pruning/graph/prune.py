"""Pruning of any generator by its graph; it needs no family, and no constructor that takes widths."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from gcc.deploy.latency import measure_optimized
from gcc.errors import BudgetError, GccError, PluginError, PruningWarning, TrainingError, abridged, first_line, suggestion
from gcc.models.calls import Arguments, arguments_of, located_errors, require_values, shapes_of, unwrapped
from gcc.models.modules import without_autocast
from gcc.pruning.budget import Budget, LatencyBudget, Limit
from gcc.pruning.choice_warnings import warn_of_narrow_layers, warn_of_ties, warn_of_unranked_layers
from gcc.pruning.cost import Cost, cost_of_shapes
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.computed_weights import computed_weights
from gcc.pruning.graph.gains import changed_numbers
from gcc.pruning.graph.groups import Selection, with_named_parts
from gcc.pruning.graph.proven_cut import ProvenCut, WeightSource, proven_cut
from gcc.pruning.graph.reset import reset
from gcc.pruning.graph.result_warnings import (
    warn_of_changed_numbers,
    warn_of_constants,
    warn_of_kept_weights,
    warn_of_unused_layers,
    warn_of_walls,
)
from gcc.pruning.graph.verify import NO_CONSTANTS
from gcc.pruning.graph.ways import Followed, followed_code, followed_graph
from gcc.pruning.importance import most_important, score_groups
from gcc.pruning.search import find_widths, with_min_channels
from gcc.recipe import MacCounter
from gcc.registry import METRICS, ImportanceMetric
from gcc.utils.arguments import checked_arguments
from gcc.utils.renamed import renamed_keywords
from gcc.utils.user_warnings import warn_user

FINAL = (BudgetError, PluginError, TrainingError)
"""Errors that pruning the graph in place of the code would not avoid."""
PRECISE = (torch.float32, torch.float64)
"""Types in which the outputs of the pruned generator can be compared."""


@renamed_keywords(FutureWarning, counter="mac_counter", keep="min_keep_ratio")
@checked_arguments
@without_autocast()
def prune(
    generator: nn.Module,
    example_input: Any,
    metric: str = "slimming",
    budget: str = "25%",
    *,
    mac_counter: MacCounter = "exact",
    min_keep_ratio: float = 0.0,
    round_to: int = 1,
    leave: Collection[str] = (),
    weights: WeightSource = "inherited",
) -> nn.Module:
    """Return a smaller copy of a generator: the largest within the budget that keeps its most important channels.

    The channels that belong together are read from the generator's graph, so you don't need to declare anything. The copy is compared, on
    random input, with the full generator whose removed channels are set to zero: with its own and with random weights, on the example and
    on other sizes, and in one training step. It is returned only if the outputs are equal. If the generator's code contains widths as
    constants, the result is a `PrunedGraph` instead of a copy of the generator.

    >>> import torch
    >>> from torch import nn
    >>> generator = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    >>> smaller = prune(generator, torch.zeros(1, 3, 8, 8), budget="50%")
    >>> smaller[0]
    Conv2d(3, 8, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))

    Args:
        generator: the full generator; it is not changed. The copy of a generator in `DataParallel`, `DistributedDataParallel` or
            `torch.compile` is not wrapped.
        example_input: its input, (N, ...), on its device, or a tuple of all its arguments, including constants and None; it sets the
            resolution at which costs are counted.
        metric: name of the importance metric that ranks the channels; if it needs gradients, it uses those stored in the parameters.
        budget: such as `3.0G` or `900M` MACs per sample, `25%`, `2.5Mparams`, `25%params` or `8ms@cpu`; percentages refer to the
            generator's cost.
        mac_counter: how MACs are counted, `exact` or `paper`.
        min_keep_ratio: smallest share of each group's channels that is kept.
        round_to: a group that loses channels keeps a multiple of this; in grouped convolutions, a multiple of this many groups.
        leave: paths of modules to leave as they are; channels that enter or leave them are kept.
        weights: `inherited`, or `fresh` for weights drawn by each module's `reset_parameters`; a module without it inherits its own, and a
            `PruningWarning` lists those with more than one dimension.
            Inherited weights absorb gains that code computes from a width (equalised learning rate). Other numbers that code computes from
            a width, such as the scale of attention, are those of the smaller generator, and a `PruningWarning` lists them. Statistics over
            channels are also those of the smaller generator.

    Raises:
        GccError: an argument cannot be used, or channels cannot be traced through a layer; the message names the layer.
        BudgetError: the budget is out of reach.
        PluginError: the metric is unknown, or scores no channel.
    """
    _check_shares(min_keep_ratio, round_to)
    inputs = arguments_of(example_input)
    generator, wrapper = unwrapped(generator)
    require_values(generator, inputs)
    _check_generator(generator)
    leave = _checked_paths(generator, wrapper, leave)
    limit, importance = _parsed_budget(budget, inputs), _loaded_metric(metric, generator)
    request = _Request(generator, inputs, limit, importance, mac_counter, min_keep_ratio, round_to, weights)
    graph = Graph(generator, *inputs)
    result = _fulfilled(request, graph, leave)
    _warn_of_choice(result.choice)
    warn_of_constants(result.followed.constant)
    warn_of_walls(result.followed.trace)
    warn_of_unused_layers(result.followed.trace, leave)
    if weights == "fresh":
        with located_errors(result.cut.network, "expected a reset_parameters that takes its sizes from the parameters"):
            kept = reset(result.cut.network)
        warn_of_kept_weights(result.cut.network, kept)
    else:
        warn_of_changed_numbers(changed_numbers(result.followed.trace.graph, result.cut.graph, result.cut.folded))
    return result.cut.network


class _Choice(NamedTuple):
    """The channels that are kept.

    Attributes:
        selection: the channels.
        channels: number of channels before pruning, by group name.
        scores: importance of the channels by group name; None if the metric has no score for a group.
        widths: number of channels after pruning, by group name.
    """

    selection: Selection
    channels: dict[str, int]
    scores: Mapping[str, Tensor | None]
    widths: Mapping[str, int]


class _Result(NamedTuple):
    """A pruned generator, the channels that it has, and how it was cut."""

    choice: _Choice
    followed: Followed
    cut: ProvenCut


@dataclass(frozen=True)
class _Request:
    """What a generator is pruned to; the attributes are the checked arguments of `prune`."""

    generator: nn.Module
    inputs: Arguments
    budget: Budget | LatencyBudget
    importance: ImportanceMetric
    mac_counter: MacCounter
    min_keep_ratio: float
    round_to: int
    weights: WeightSource

    def fulfilled(self, followed: Followed) -> _Result:
        """Return the pruned generator that is cut in a given way.

        Raises:
            GccError: the pruned generator is not proven.
            BudgetError: the budget is out of reach.
        """
        choice = self._chosen(followed)
        return _Result(choice, followed, proven_cut(self.generator, followed, choice.selection, self.inputs, self.weights))

    def needs_graph(self, followed: Followed) -> bool:
        """Return whether one channel in each group would still cost more than half of the budget, since the code has sizes as constants."""
        if not followed.constant:
            return False
        least = self._narrow_cost(followed, {one.group.name: 1 for one in followed.channels})
        limit = self._limit
        return least.macs > self._full_cost.macs / 2 if isinstance(limit, LatencyBudget) else limit.measure(least) > limit.value / 2

    def _chosen(self, followed: Followed) -> _Choice:
        """Return the most important channels within the budget."""
        trace, channels = followed.trace, followed.channels
        groups = with_min_channels([one.group for one in channels], self.min_keep_ratio)
        scores = score_groups(
            with_named_parts(self.generator, channels, computed_weights(trace.graph, self.generator)), groups, self.importance
        )
        widths = find_widths(
            groups,
            scores,
            self._limit,
            partial(self._narrow_cost, followed),
            lambda widths, runtime: measure_optimized(followed.narrowed(self.generator, widths), self.inputs[0], runtime).median_ms,
            self.round_to,
        )
        best = most_important(scores, widths)
        full_widths = {group.name: group.channels for group in groups}
        return _Choice(Selection(trace.atoms, channels, best), full_widths, scores, widths)

    @cached_property
    def _shapes(self) -> nn.Module:
        return shapes_of(self.generator)

    @cached_property
    def _full_cost(self) -> Cost:
        expected = (
            "the generator's cost is computed from shapes alone: expected tensors that are registered as buffers, or that are created on "
            "the device of the input"
        )
        with located_errors(self._shapes, expected):
            return cost_of_shapes(self._shapes, *self.inputs)

    @cached_property
    def _limit(self) -> Limit | LatencyBudget:
        return self.budget.resolve(self._full_cost, self.mac_counter)

    def _narrow_cost(self, followed: Followed, widths: Mapping[str, int]) -> Cost:
        """Return the cost of a generator of given widths, cut from the full one on the meta device."""
        smaller = followed.narrowed(self._shapes, widths)
        with located_errors(smaller, NO_CONSTANTS):
            return cost_of_shapes(smaller, *self.inputs)


def _fulfilled(request: _Request, graph: Graph, leave: Collection[str]) -> _Result:
    """Return the pruned generator that runs its code, or its graph if the code cannot run or has too many widths as constants.

    Args:
        request: what it is pruned to.
        graph: the generator's graph.
        leave: paths of modules to leave as they are.

    Raises:
        GccError: neither is proven.
        BudgetError: the budget is out of reach.
    """
    try:
        followed = followed_code(request.generator, graph, request.inputs, leave)
    except GccError as error:
        return _fulfilled_by_graph(request, graph, leave, str(error))
    constants = f"the number of channels of {abridged(map(repr, followed.constant))}"
    if request.needs_graph(followed):
        with suppress(GccError):
            return _fulfilled_by_graph(request, graph, leave, constants)
    try:
        return request.fulfilled(followed)
    except BudgetError:
        if followed.constant:
            with suppress(GccError):
                return _fulfilled_by_graph(request, graph, leave, constants)
        raise
    except FINAL:
        raise
    except GccError as error:
        return _fulfilled_by_graph(request, graph, leave, str(error))


def _fulfilled_by_graph(request: _Request, graph: Graph, leave: Collection[str], reason: str) -> _Result:
    """Return the pruned generator that runs its graph.

    Args:
        request: what it is pruned to.
        graph: the generator's graph.
        leave: paths of modules to leave as they are.
        reason: why its own code is not used, for messages.

    Raises:
        GccError: its graph cannot be cut or is not proven, either; both reasons are given.
        BudgetError: the budget is out of reach.
    """
    if request.mac_counter == "paper":
        raise GccError(f"{reason}; its graph could be pruned, but mac_counter='paper' counts layers: expected mac_counter='exact'")
    try:
        result = request.fulfilled(followed_graph(request.generator, graph, request.inputs, leave))
    except FINAL:
        raise
    except Exception as error:  # torch.export and a user's module can raise anything.
        if str(error) == reason:
            raise GccError(reason) from None
        raise GccError(f"{reason}; and the graph of the generator cannot be used in its place: {first_line(error)}") from error
    warn_user(f"the pruned generator runs its graph, not its code, which contains sizes as constants: {reason}", PruningWarning)
    return result


def _warn_of_choice(choice: _Choice) -> None:
    warn_of_narrow_layers(choice.channels, choice.widths, "the generator")
    warn_of_ties(choice.scores, choice.widths, "the generator")
    warn_of_unranked_layers(choice.scores, "the generator")


def _check_shares(min_keep_ratio: float, round_to: int) -> None:
    if not 0 <= min_keep_ratio <= 1 or round_to < 1:
        raise GccError(f"min_keep_ratio = {min_keep_ratio}, round_to = {round_to}: expected a share from 0 to 1, and a number from 1 up")


def _check_generator(generator: nn.Module) -> None:
    for name, parameter in generator.named_parameters():
        if parameter.is_floating_point() and parameter.dtype not in PRECISE:
            raise GccError(f"{name} is {str(parameter.dtype).removeprefix('torch.')}: expected a generator in float32 or float64")


def _checked_paths(generator: nn.Module, wrapper: str, leave: Collection[str]) -> list[str]:
    """Return the paths to leave as they are in the generator; the path of what wraps it may come before them."""
    paths = {path for path, _ in generator.named_modules() if path}
    inner = [path if path in paths else path.removeprefix(wrapper) for path in leave]
    for path, inner_path in zip(leave, inner, strict=True):
        if inner_path not in paths:
            raise GccError(f"leave has {path!r}, which is not a module of the generator{suggestion(path, paths)}")
    return inner


def _parsed_budget(text: str, inputs: Arguments) -> Budget | LatencyBudget:
    (budget,) = Budget.parse_each(text, ["generator"]).values()
    if isinstance(budget, LatencyBudget) and (len(inputs) > 1 or not isinstance(inputs[0], Tensor)):
        raise GccError(f"budget {text!r}: times are measured for one input, not for {len(inputs)}; expected a budget of another kind")
    return budget


def _loaded_metric(name: str, generator: nn.Module) -> ImportanceMetric:
    metric = METRICS.load(name)()
    if metric.gradient_batches and all(parameter.grad is None for parameter in generator.parameters()):
        raise GccError(f"metric {name!r} reads gradients, but no parameter has one: call backward() on a loss first")
    return metric

"""From importance and a budget to widths (Li et al. 2021, Algorithm 1, line 5; appendix B).

All channels of the generator are ranked together, and the least important ones are removed until the budget is met.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.deploy.latency import measure_optimized
from gcc.errors import BudgetError
from gcc.models.build import generator_on_meta
from gcc.pruning.budget import LatencyBudget, Limit
from gcc.pruning.cost import Cost, generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import ONCE, score_groups
from gcc.pruning.latency_search import estimate_limit, search_latency
from gcc.pruning.ranking import CostCache, Ranking, least_removed, require_within_reach
from gcc.registry.architecture import Architecture
from gcc.registry.importance import ImportanceMetric
from gcc.registry.types import Group
from gcc.utils.units import with_prefix

Timed = Callable[[Cost, float], None]
"""Called with the cost and the milliseconds of each generator that is timed."""


@dataclass(frozen=True)
class Pruned:
    """A generator's widths within a budget.

    Attributes:
        widths: channels by width name; 0 if the level or block is left out.
        cost: cost of the generator with these widths.
    """

    widths: dict[str, int]
    cost: Cost


@dataclass(frozen=True)
class ScoredGroups:
    """The channel groups of a generator and their importance.

    Attributes:
        base: the generator's width.
        groups: the groups.
        scores: importance by group name, (channels,); None if the metric does not score the group.
    """

    base: int
    groups: Sequence[Group]
    scores: Mapping[str, Tensor | None]


def prune_family(
    architecture: Architecture[Any],
    network: nn.Module,
    base: int,
    metric: ImportanceMetric,
    limit: Limit | LatencyBudget,
    min_keep_ratio: float = 0.0,
    round_to: int = 1,
    rounds: Iterable[None] = ONCE,
) -> Pruned:
    """Return the widths of the largest generator of a family within `limit` that keeps the most important channels of `network`.

    Args:
        architecture: the family.
        network: the generator of width `base` that the first step has trained; only its weights are read.
        base: its width.
        metric: ranks the channels.
        limit: the most that the pruned generator may cost, as `Budget.resolve` returns it.
        min_keep_ratio: least share of each width's channels that is kept.
        round_to: a width that loses channels becomes a multiple of this.
        rounds: each iteration leaves new gradients in the network, for a metric that reads them.

    Raises:
        BudgetError: the budget is out of reach.
        PluginError: the metric scores no channel, or a width belongs to no layer.
        TrainingError: a score is not finite.
    """
    scored = score_family(architecture, network, base, metric, min_keep_ratio, rounds)
    widths = widths_of_family(architecture, scored, limit, round_to)
    return Pruned(widths, generator_cost(architecture, widths))


def score_family(
    architecture: Architecture[Any],
    network: nn.Module,
    base: int,
    metric: ImportanceMetric,
    min_keep_ratio: float = 0.0,
    rounds: Iterable[None] = ONCE,
) -> ScoredGroups:
    """Return the channel groups of a generator with their importance; the arguments are those of `prune_family`.

    Raises:
        PluginError: the metric scores no channel, or a width belongs to no layer.
    """
    groups = with_min_channels(find_groups(architecture, base), min_keep_ratio)
    return ScoredGroups(base, groups, score_groups(network, groups, metric, rounds, architecture.readable))


def widths_of_family(
    architecture: Architecture[Any],
    scored: ScoredGroups,
    limit: Limit | LatencyBudget,
    round_to: int = 1,
    timed: Timed = lambda cost, milliseconds: None,
) -> dict[str, int]:
    """Return the widths of the largest generator of a family within `limit` that keeps the most important channels.

    Args:
        architecture: the family.
        scored: its channels with their scores.
        limit: the most that the generator may cost.
        round_to: widths are multiples of this.
        timed: called with the cost and the milliseconds of each generator that is timed, for a latency.

    Raises:
        BudgetError: the budget is out of reach.
        TrainingError: a score is not finite.
    """
    cost, milliseconds = partial(generator_cost, architecture), partial(_milliseconds, architecture, timed)
    with _advising_another_width(architecture, scored.base):
        widths = find_widths(scored.groups, scored.scores, limit, cost, milliseconds, round_to)
    return drop_empty_levels(architecture, scored.groups, widths)


def estimate_limit_of_family(
    architecture: Architecture[Any],
    scored: ScoredGroups,
    budget: LatencyBudget,
    round_to: int = 1,
    timed: Timed = lambda cost, milliseconds: None,
) -> Limit:
    """Return the MACs per sample with which a generator of a family takes about as long as a latency budget allows.

    Two generators are timed. The arguments are those of `widths_of_family`.

    Raises:
        BudgetError: the budget is out of reach.
        TrainingError: a score is not finite.
    """
    cost, milliseconds = partial(generator_cost, architecture), partial(_milliseconds, architecture, timed)
    with _advising_another_width(architecture, scored.base):
        return estimate_limit(scored.groups, scored.scores, cost, lambda widths: milliseconds(widths, budget.runtime), budget, round_to)


@contextmanager
def _advising_another_width(architecture: Architecture[Any], base: int) -> Iterator[None]:
    """Add to a refused budget that a generator of another width than `base` may be pruned, if the family has other widths."""
    try:
        yield
    except BudgetError as error:
        if architecture.has_one_width:
            raise
        raise BudgetError(f"{error}, or prune a generator of another width than {base} (`prune_width`)") from error


def with_min_channels(groups: Iterable[Group], min_keep_ratio: float) -> list[Group]:
    """Return the groups with their minimum raised to the share `min_keep_ratio` of their channels."""
    return [replace(group, minimum=max(group.minimum, math.ceil(min_keep_ratio * group.channels - 1e-9))) for group in groups]


def find_widths(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    limit: Limit | LatencyBudget,
    cost: Callable[[Mapping[str, int]], Cost],
    milliseconds: Callable[[Mapping[str, int], str], float],
    round_to: int,
) -> dict[str, int]:
    """Return the widths of the largest network within a limit of either kind, by `search_widths` or `search_latency`.

    Args:
        groups: the channel groups.
        scores: importance by group name.
        limit: the most that the network may cost.
        cost: returns the cost of a network with given widths.
        milliseconds: returns how long it takes in a runtime; each call measures.
        round_to: a width that loses channels becomes a multiple of this.

    Raises:
        BudgetError: the budget is out of reach.
        TrainingError: a score is not finite.
    """
    if isinstance(limit, LatencyBudget):
        return search_latency(groups, scores, cost, lambda widths: milliseconds(widths, limit.runtime), limit, round_to)
    return search_widths(groups, scores, lambda widths: limit.measure(cost(widths)), limit.value, limit.unit, round_to)


def _milliseconds(architecture: Architecture[Any], timed: Timed, widths: Mapping[str, int], runtime: str) -> float:
    # Weights do not change the time. The caller's random state is left alone.
    with torch.random.fork_rng(devices=[]):
        network = architecture.build_generator(widths)
        architecture.initialise(network)
    milliseconds = measure_optimized(network, architecture.example_input(), runtime).median_ms
    timed(generator_cost(architecture, widths), milliseconds)
    return milliseconds


def search_widths(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    cost: Callable[[Mapping[str, int]], float],
    limit: float,
    unit: str = "MACs",
    round_to: int = 1,
) -> dict[str, int]:
    """Return the widths of the largest network whose cost is within `limit`, by a global ranking of channels.

    The scored channels of all groups are sorted by ascending score (ties: by the order of groups and channels) and removed from the
    front; each group keeps its `minimum` most important ones. Bisection finds how many must be removed. The last channel removed may be
    expensive, and then the result lies below the limit: removed channels that fit come back in order of importance, until the result is
    within 1 % of the limit.

    Only if a whole level has vanished with that channel, and what comes back does not fill the budget, its last channel is kept and others
    are removed instead. The result that keeps more importance is returned; a channel that no longer costs anything does not count.

    With `round_to`, the channels of a group are removed in blocks of that size, ranked by their mean score.

    Args:
        groups: the channel groups.
        scores: importance by group name, (channels,); larger is more important. A group whose score is None keeps its full width.
        cost: returns the cost of a network with given widths; it must not rise when a width falls.
        limit: the most that `cost` may return.
        unit: unit of `cost`, for messages.
        round_to: a width that loses channels becomes a multiple of this.

    Raises:
        BudgetError: `limit` lies outside the range that removing channels can reach.
        TrainingError: a score is not finite.
    """
    ranking, cost_without = Ranking(groups, scores, round_to), CostCache(groups, cost, round_to)
    require_within_reach(cost_without(ranking.names), cost_without([]), limit, with_prefix, unit)
    return cost_without.widths(least_removed(ranking, cost_without, limit))


def drop_empty_levels(architecture: Architecture[Any], groups: Sequence[Group], widths: Mapping[str, int]) -> dict[str, int]:
    """Return `widths` with 0 for every group that has vanished with its level, so that the generator is the same without it."""
    settled = dict(widths)
    shapes = _shapes(generator_on_meta(architecture, settled))
    for group in groups:
        if group.minimum == 0 and settled[group.name]:
            without = settled | {group.name: 0}
            if _shapes(generator_on_meta(architecture, without)) == shapes:
                settled = without
    return settled


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in network.named_parameters()}

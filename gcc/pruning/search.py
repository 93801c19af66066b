"""From importance and a budget to widths (Li et al. 2021, Algorithm 1, line 5; appendix B).

All channels of the generator are ranked together, and the least important go until the budget holds.
"""

from __future__ import annotations

import math
from collections import Counter as MemoryTracker
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.deploy.latency import measure_ready
from gcc.deploy.runtime_names import Runtime
from gcc.errors import BudgetError, TrainingError
from gcc.models.build import generator_on_meta
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import ONCE, score_groups
from gcc.recipe import MacCounter
from gcc.registry.architecture import Architecture
from gcc.registry.importance import ImportanceMetric
from gcc.registry.types import Group
from gcc.utils.units import with_prefix

NEAR_ENOUGH = 0.01
"""Share of the budget that the search may leave unused while a channel is left that might still fit."""
NEAR_ENOUGH_IN_TIME = 0.1
"""The same of a latency, which scatters, and which takes a second to be measured."""
RETRIALS = 5
"""Searches for a latency, at most, of which each is the answer to the outcome of the one before."""


@dataclass(frozen=True)
class Pruned:
    """A generator's widths within a budget.

    Attributes:
        widths: channels by width name; 0 where the level or block is left out.
        cost: what the generator with these widths costs.
    """

    widths: dict[str, int]
    cost: Cost


def prune(
    architecture: Architecture[Any],
    network: nn.Module,
    base: int,
    metric: ImportanceMetric,
    budget: Budget | LatencyBudget,
    counter: MacCounter,
    teacher: Cost,
    keep: float = 0.0,
    round_to: int = 1,
    rounds: Iterable[None] = ONCE,
) -> Pruned:
    """Return the widths of the largest generator within `budget` that keeps the most important channels of `network`.

    Args:
        architecture: the family.
        network: the generator of width `base` that the first step has trained; only its weights are read.
        base: its width.
        metric: ranks the channels.
        budget: what the pruned generator may cost.
        counter: the MACs counter that the budget is held against.
        teacher: what a budget given as a share is a share of.
        keep: least share of each width's channels that stays.
        round_to: widths that lose channels become multiples of this.
        rounds: leaves the gradients that the metric reads in the network, anew each time it goes on.

    Raises:
        BudgetError: the budget is out of reach.
        PluginError: the metric can tell for no channel, or a width belongs to no layer.
        TrainingError: a score is not finite.
    """
    groups = with_min_channels(find_groups(architecture, base), keep)
    scores = score_groups(network, groups, metric, rounds)
    cost, milliseconds = partial(generator_cost, architecture), partial(_milliseconds, architecture)
    found = find_widths(groups, scores, budget, counter, teacher, cost, milliseconds, round_to)
    widths = drop_empty_levels(architecture, groups, found)
    return Pruned(widths, generator_cost(architecture, widths))


def with_min_channels(groups: Iterable[Group], keep: float) -> list[Group]:
    """Return groups that keep at least the share `keep` of their channels."""
    return [replace(group, minimum=max(group.minimum, math.ceil(keep * group.channels - 1e-9))) for group in groups]


def find_widths(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    budget: Budget | LatencyBudget,
    counter: MacCounter,
    teacher: Cost,
    cost: Callable[[Mapping[str, int]], Cost],
    milliseconds: Callable[[Mapping[str, int], Runtime], float],
    round_to: int,
) -> dict[str, int]:
    """Return the widths of the largest network within any kind of budget: `search_widths` or `search_latency`.

    Args:
        groups: the channel groups.
        scores: importance by group name.
        budget: what the network may cost.
        counter: the MACs counter that the budget is held against.
        teacher: what a budget given as a share is a share of.
        cost: what a network with given widths costs.
        milliseconds: how long it takes in a runtime; each call measures.
        round_to: widths that lose channels become multiples of this.

    Raises:
        BudgetError: the budget is out of reach.
        TrainingError: a score is not finite.
    """
    if isinstance(budget, LatencyBudget):
        return search_latency(groups, scores, lambda widths: milliseconds(widths, budget.runtime), budget, round_to)
    unit = budget.unit(counter) + (f" at {teacher.resolution}" if budget.quantity == "macs" else "")
    limit = budget.limit(teacher, counter)
    return search_widths(groups, scores, lambda widths: budget.measure(cost(widths), counter), limit, unit, round_to)


def _milliseconds(architecture: Architecture[Any], widths: Mapping[str, int], runtime: Runtime) -> float:
    # Weights change nothing about time; the caller's random numbers are left alone.
    with torch.random.fork_rng(devices=[]):
        network = architecture.build_generator(widths)
        architecture.initialise(network)
    return measure_ready(network, architecture.example_input(), runtime).median_ms


def search_widths(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    cost: Callable[[Mapping[str, int]], float],
    limit: float,
    unit: str = "MACs",
    round_to: int = 1,
) -> dict[str, int]:
    """Return the widths of the largest network whose cost is within `limit`, by a global ranking of channels.

    The scored channels of all groups are ordered by ascending score, ties by the order of groups and channels, and removed from the front;
    the most important `minimum` of each group stay. How many must go is found by bisection. Where the last channel to go costs much, as
    one whose level vanishes with it, that leaves the result far below the limit. The search then goes on until the result is within 1 %
    of the limit or nothing is left to try: first the group of that channel is closed, and the others get channels back in their order;
    if that does not fill the budget, the channel stays, and others go instead.

    With `round_to`, blocks of so many channels of a group go together, ranked by their mean score.

    Args:
        groups: the channel groups.
        scores: importance by group name, (channels,), larger is kept; a group whose score is none keeps its full width.
        cost: the cost of a network with given widths; it must not rise when a width falls.
        limit: the most that `cost` may give.
        unit: what `cost` gives, for messages.
        round_to: widths that lose channels become multiples of this.

    Raises:
        BudgetError: `limit` lies outside of what removing channels can reach.
        TrainingError: a score is not finite.
    """
    ranking = _ranking(groups, scores, round_to)
    price = _CostCache(groups, cost, round_to)
    smallest, largest = price(ranking), price([])
    if not smallest <= limit <= largest:
        raise BudgetError(
            f"budget {with_prefix(limit)} {unit}: this generator can be pruned to between {with_prefix(smallest)} and "
            f"{with_prefix(largest)}; give a budget in between, or prune a generator of another width (--prune-width)"
        )
    return price.widths(_fewest_removed(ranking, price, limit, (1 - NEAR_ENOUGH) * limit))


def search_latency(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    milliseconds: Callable[[Mapping[str, int]], float],
    budget: LatencyBudget,
    round_to: int = 1,
) -> dict[str, int]:
    """Return the widths of the largest network that a clock finds within the budget, by a global ranking of channels.

    As `search_widths` does it, until the result is within 10 % of the limit. A clock is no formula, and a search finds lucky times: the
    result is timed anew, and where it does not hold, the search goes on with a limit that is lower in proportion.

    Args:
        groups: the channel groups.
        scores: importance by group name.
        milliseconds: how long a network with given widths takes; each call measures.
        budget: the most that this may be.
        round_to: widths that lose channels become multiples of this.

    Raises:
        BudgetError: the budget lies outside of what removing channels can reach.
        TrainingError: a score is not finite.
    """
    ranking, limit = _ranking(groups, scores, round_to), budget.milliseconds
    price = _CostCache(groups, milliseconds, round_to)
    smallest, largest = price(ranking), price([])
    if not smallest <= limit <= largest:
        raise BudgetError(
            f"budget {limit:.4g} ms by {budget.runtime}: on this machine, this generator can be pruned to between {smallest:.4g} and "
            f"{largest:.4g} ms; give a budget in between, or prune a generator of another width (--prune-width)"
        )
    aim = limit
    for _ in range(RETRIALS):
        widths = price.widths(_fewest_removed(ranking, price, aim, (1 - NEAR_ENOUGH_IN_TIME) * aim))
        again = milliseconds(widths)
        if again <= limit:
            break
        aim *= limit / again
    return widths


def drop_empty_levels(architecture: Architecture[Any], groups: Sequence[Group], widths: Mapping[str, int]) -> dict[str, int]:
    """Return `widths` with 0 for every group that has vanished with its level: the generator is the same without it."""
    settled = dict(widths)
    shapes = _shapes(generator_on_meta(architecture, settled))
    for group in groups:
        if group.minimum == 0 and settled[group.name]:
            without = settled | {group.name: 0}
            if _shapes(generator_on_meta(architecture, without)) == shapes:
                settled = without
    return settled


def _ranking(groups: Sequence[Group], scores: Mapping[str, Tensor | None], round_to: int) -> list[str]:
    """Return the group name of every block of channels that may go, by ascending mean importance.

    A block has `round_to` channels; the least important one of a group has fewer where its channels are no multiple.
    """
    names: list[str] = []
    importance: list[Tensor] = []
    for group in groups:
        score = scores[group.name]
        if score is None:
            continue
        if not bool(score.isfinite().all()):
            raise TrainingError(f"width {group.name!r}: a channel's importance is not finite; the training of the first step has diverged")
        ascending = score.detach().cpu().double().sort().values
        ends = range(group.channels % round_to or round_to, group.channels + 1, round_to)
        blocks = torch.stack([ascending[max(0, end - round_to) : end].mean() for end in ends])
        may_go = blocks[: len(blocks) - math.ceil(group.minimum / round_to)]
        names += [group.name] * len(may_go)
        importance.append(may_go)
    if not importance:
        return []
    return [names[index] for index in torch.cat(importance).argsort(stable=True).tolist()]


class _CostCache:
    """The cost of the network without given blocks of channels, each computed once."""

    def __init__(self, groups: Sequence[Group], cost: Callable[[Mapping[str, int]], float], round_to: int) -> None:
        self.full = {group.name: group.channels for group in groups}
        self.cost = cost
        self.round_to = round_to
        self.known: dict[tuple[int, ...], float] = {}

    def widths(self, removed: Sequence[str]) -> dict[str, int]:
        gone = MemoryTracker(removed)
        blocks = {name: math.ceil(channels / self.round_to) for name, channels in self.full.items()}
        return {name: self.round_to * (blocks[name] - gone[name]) if gone[name] else channels for name, channels in self.full.items()}

    def __call__(self, removed: Sequence[str]) -> float:
        widths = self.widths(removed)
        key = tuple(widths.values())
        if key not in self.known:
            self.known[key] = self.cost(widths)
        return self.known[key]


def _fewest_removed(ranking: list[str], price: _CostCache, limit: float, enough: float) -> list[str]:
    """Return what goes so that the limit holds and `enough` is used, or as much as can be; all of `ranking` where nothing holds it."""
    best = ranking
    while price(ranking) <= limit:
        removed = _first_to_fit(ranking, price, limit, closed=[])
        best = max(best, _refill(removed, price, limit, enough), key=lambda gone: (price(gone), -len(gone)))
        if price(best) >= enough or not removed:
            break
        *others, kept = removed
        ranking = others + [name for name in ranking[len(removed) :] if name != kept]
    return best


def _refill(removed: Sequence[str], price: _CostCache, limit: float, enough: float) -> list[str]:
    """Return what is still removed once every channel that fits has come back, the most important first.

    The last of `removed` does not fit, so its group is closed as it is, and so on with the first channel that does not fit of the rest.
    """
    closed: list[str] = []
    rest = list(removed)
    while rest and price(closed + rest) < enough:
        unfit = rest[-1]
        closed += [name for name in rest if name == unfit]
        rest = _first_to_fit([name for name in rest if name != unfit], price, limit, closed)
    return closed + rest


def _first_to_fit(ranking: list[str], price: _CostCache, limit: float, closed: list[str]) -> list[str]:
    """Return the shortest beginning of `ranking` whose removal beside `closed` keeps the limit; all of `ranking` must keep it."""
    low, high = 0, len(ranking)
    while low < high:
        middle = (low + high) // 2
        if price(closed + ranking[:middle]) <= limit:
            high = middle
        else:
            low = middle + 1
    return ranking[:high]


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in network.named_parameters()}

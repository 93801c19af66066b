"""From importance and a budget to widths (Li et al. 2021, Algorithm 1, line 5; appendix B).

All channels of the generator are ranked together, and the least important ones are removed until the budget holds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.deploy.latency import measure_optimized
from gcc.errors import BudgetError, TrainingError
from gcc.models.build import generator_on_meta
from gcc.pruning.budget import LatencyBudget, Limit
from gcc.pruning.cost import Cost, generator_cost
from gcc.pruning.groups import find_groups
from gcc.pruning.importance import ONCE, score_groups
from gcc.registry.architecture import Architecture
from gcc.registry.importance import ImportanceMetric
from gcc.registry.types import Group
from gcc.utils.units import with_prefix

NEAR_ENOUGH = 0.01
"""Share of the budget that the search may leave unused although other removals might use more of it."""
NEAR_ENOUGH_IN_TIME = 0.1
"""The same for a latency: times scatter, and one measurement takes seconds."""
NEAR_IN_MACS = 0.05
"""Share of the MACs by which the largest network that is fast enough may differ from the smallest one that is too slow."""
MAX_TIMINGS = 30
"""Most measurements of a search for a latency."""


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
    timed: Callable[[float], None] = lambda milliseconds: None,
) -> dict[str, int]:
    """Return the widths of the largest generator of a family within `limit` that keeps the most important channels.

    Args:
        architecture: the family.
        scored: its channels with their scores.
        limit: the most that the generator may cost.
        round_to: widths are multiples of this.
        timed: called with the milliseconds of each generator that is timed, for a latency.

    Raises:
        BudgetError: the budget is out of reach.
        TrainingError: a score is not finite.
    """
    cost = partial(generator_cost, architecture)

    def milliseconds(widths: Mapping[str, int], runtime: str) -> float:
        measured = _milliseconds(architecture, widths, runtime)
        timed(measured)
        return measured

    try:
        widths = find_widths(scored.groups, scored.scores, limit, cost, milliseconds, round_to)
    except BudgetError as error:
        if architecture.has_one_width:
            raise
        raise BudgetError(f"{error}, or prune a generator of another width than {scored.base} (`prune_width`)") from error
    return drop_empty_levels(architecture, scored.groups, widths)


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


def _milliseconds(architecture: Architecture[Any], widths: Mapping[str, int], runtime: str) -> float:
    # Weights do not change the time. The caller's random state is left alone.
    with torch.random.fork_rng(devices=[]):
        network = architecture.build_generator(widths)
        architecture.initialise(network)
    return measure_optimized(network, architecture.example_input(), runtime).median_ms


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
    ranking, cost_without = _Ranking(groups, scores, round_to), _CostCache(groups, cost, round_to)
    _require_within_reach(cost_without(ranking.names), cost_without([]), limit, with_prefix, unit)
    return cost_without.widths(_least_removed(ranking, cost_without, limit, (1 - NEAR_ENOUGH) * limit))


def search_latency(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    cost: Callable[[Mapping[str, int]], Cost],
    milliseconds: Callable[[Mapping[str, int]], float],
    budget: LatencyBudget,
    round_to: int = 1,
) -> dict[str, int]:
    """Return the widths of the largest network whose measured time is within the budget, by a global ranking of channels.

    A measurement takes seconds, and a count of MACs does not. So each candidate is the result of `search_widths` for a number of MACs,
    which is interpolated between the largest network that was fast enough and the smallest one that was too slow. The search ends within
    10 % of the budget, or where these two differ by 5 % in MACs, usually after five candidates. Measured times scatter, and a search picks
    lucky ones: the result is timed again, and if it is too slow, the search goes on below it. Only widths whose last time holds the budget
    are returned.

    Args:
        groups: the channel groups.
        scores: importance by group name.
        cost: returns the cost of a network with given widths.
        milliseconds: returns how long a network with given widths takes; each call measures.
        budget: the longest time allowed.
        round_to: a width that loses channels becomes a multiple of this.

    Raises:
        BudgetError: the budget lies outside the range that removing channels can reach, or no second measurement confirmed any widths.
        TrainingError: a score is not finite.
    """
    limit = budget.milliseconds
    ranking, macs_without = _Ranking(groups, scores, round_to), _CostCache(groups, lambda widths: cost(widths).macs, round_to)

    def timed(removed: Sequence[str]) -> _Candidate:
        return _Candidate(removed, macs_without(removed), milliseconds(macs_without.widths(removed)))

    def between(fast: _Candidate, slow: _Candidate) -> list[str] | None:
        if fast.milliseconds >= (1 - NEAR_ENOUGH_IN_TIME) * limit or fast.macs >= (1 - NEAR_IN_MACS) * slow.macs:
            return None
        for macs in (fast.interpolated(slow, (1 - NEAR_ENOUGH_IN_TIME / 2) * limit), slow.macs - 1):
            removed = _least_removed(ranking, macs_without, macs, (1 - NEAR_ENOUGH) * macs)
            if fast.macs < macs_without(removed) < slow.macs:
                return removed
        return None

    smallest, largest = timed(ranking.names), timed([])
    unit = f"by {budget.runtime} on this machine, ready for inference"
    _require_within_reach(smallest.milliseconds, largest.milliseconds, limit, lambda value: f"{value:.4g} ms", unit)
    fast, slow, times = smallest, largest, []
    for _ in range(MAX_TIMINGS):
        removed = between(fast, slow)
        candidate = timed(fast.removed if removed is None else removed)
        times.append(candidate.milliseconds)
        if candidate.milliseconds <= limit:
            if removed is None:
                return macs_without.widths(candidate.removed)
            fast = candidate
        else:
            # One that was fast enough only the first time casts doubt on those below it.
            fast, slow = smallest if removed is None else fast, candidate
    raise BudgetError(
        f"budget {limit:.4g} ms by {budget.runtime} on this machine: times scatter too much to hold it. {MAX_TIMINGS} measurements found "
        f"networks that took {min(times):.4g} ms to {max(times):.4g} ms, and none that held it twice; end other programs, or give a larger "
        "budget"
    )


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


@dataclass(frozen=True)
class _Candidate:
    """A network that was timed.

    Attributes:
        removed: the blocks that it lacks.
        macs: multiply-accumulates per sample.
        milliseconds: its time.
    """

    removed: Sequence[str]
    macs: float
    milliseconds: float

    def interpolated(self, slower: _Candidate, milliseconds: float) -> float:
        """Return the MACs at a time between those of this network and a slower one, at least a fifth of the way from either."""
        share = (milliseconds - self.milliseconds) / (slower.milliseconds - self.milliseconds)
        return self.macs + min(max(share, 0.2), 0.8) * (slower.macs - self.macs)


class _Ranking:
    """The removable blocks of channels of all groups, by ascending mean importance.

    A block has `round_to` channels; if a group's channels are not a multiple of that, its least important block has fewer.

    Attributes:
        names: the group name of every removable block, the least important first.

    Raises:
        TrainingError: a score is not finite.
    """

    def __init__(self, groups: Sequence[Group], scores: Mapping[str, Tensor | None], round_to: int) -> None:
        self._levels = {group.name for group in groups if group.minimum == 0}
        self._blocks: dict[str, list[float]] = {}
        """Total importance of every block of a group, in ascending order of the mean."""
        names: list[str] = []
        importance: list[Tensor] = []
        for group in groups:
            score = scores[group.name]
            if score is None:
                continue
            if not bool(score.isfinite().all()):
                raise TrainingError(
                    f"width {group.name!r}: a channel's importance is not finite; the training of the first step has diverged"
                )
            ascending = score.detach().cpu().double().sort().values
            ends = range(group.channels % round_to or round_to, group.channels + 1, round_to)
            blocks = [ascending[max(0, end - round_to) : end] for end in ends]
            self._blocks[group.name] = [float(block.sum()) for block in blocks]
            removable = torch.stack([block.mean() for block in blocks])[: len(blocks) - math.ceil(group.minimum / round_to)]
            names += [group.name] * len(removable)
            importance.append(removable)
        order = torch.cat(importance).argsort(stable=True).tolist() if importance else []
        self.names = [names[index] for index in order]

    def is_level_gone(self, removed: Sequence[str]) -> bool:
        """Return whether a whole level vanishes with the last of the removed blocks."""
        last = removed[-1]
        return last in self._levels and removed.count(last) == len(self._blocks[last])

    def importance_without(self, removed: Sequence[str], cost_without: _CostCache) -> float:
        """Return the total importance of the channels that stay, except those of groups that cost nothing any more."""
        count, cost = Counter(removed), cost_without(removed)
        total = 0.0
        for name, blocks in self._blocks.items():
            rest = [name] * (len(blocks) - count[name])
            if name not in self._levels or cost_without([*removed, *rest]) < cost:
                total += sum(blocks[count[name] :])
        return total


class _CostCache:
    """The cost of the network without given blocks of channels; each cost is computed once."""

    def __init__(self, groups: Sequence[Group], cost: Callable[[Mapping[str, int]], float], round_to: int) -> None:
        self.full = {group.name: group.channels for group in groups}
        self.cost = cost
        self.round_to = round_to
        self.known: dict[tuple[int, ...], float] = {}

    def widths(self, removed: Sequence[str]) -> dict[str, int]:
        """Return the widths without the removed blocks, which are given by the names of their groups."""
        count = Counter(removed)
        blocks = {name: math.ceil(channels / self.round_to) for name, channels in self.full.items()}
        return {name: self.round_to * (blocks[name] - count[name]) if count[name] else channels for name, channels in self.full.items()}

    def __call__(self, removed: Sequence[str]) -> float:
        """Return the cost without the removed blocks."""
        widths = self.widths(removed)
        key = tuple(widths.values())
        if key not in self.known:
            self.known[key] = self.cost(widths)
        return self.known[key]


def _require_within_reach(smallest: float, largest: float, limit: float, shown: Callable[[float], str], unit: str) -> None:
    """Refuse a limit below the cost of the smallest network, or above that of the full one.

    Args:
        smallest: the cost without all removable blocks.
        largest: the cost of the full network.
        limit: the most that the network may cost.
        shown: formats a cost for the message.
        unit: follows the formatted limit.

    Raises:
        BudgetError: the limit is out of reach; the message gives the range.
    """
    if not smallest <= limit <= largest:
        raise BudgetError(
            f"budget {shown(limit)} {unit}: this generator can be pruned to between {shown(smallest)} and {shown(largest)} "
            f"({100 * smallest / largest:.2g} % to 100 %); "
            + ("without pruning it holds the budget, so give a smaller one" if limit > largest else "give a larger budget")
        )


def _least_removed(ranking: _Ranking, cost_without: _CostCache, limit: float, enough: float) -> list[str]:
    """Return the blocks to remove so that the cost is within `limit`, and at least `enough` if that can be reached.

    If no removal brings the cost within the limit, that is all blocks of `ranking`.
    """
    candidates, blocks = [], ranking.names
    while cost_without(blocks) <= limit:
        removed = _shortest_prefix(blocks, cost_without, limit, closed=[])
        candidates.append(_refill(removed, cost_without, limit, enough))
        if cost_without(candidates[-1]) >= enough or not removed or not ranking.is_level_gone(removed):
            break
        *others, last = removed
        blocks = others + [name for name in blocks[len(removed) :] if name != last]
    return max(candidates, key=lambda removed: ranking.importance_without(removed, cost_without), default=ranking.names)


def _refill(removed: Sequence[str], cost_without: _CostCache, limit: float, enough: float) -> list[str]:
    """Return the blocks that stay removed once every block that fits has been put back, the most important first.

    The last of `removed` does not fit, so its group is closed as it is. The same holds for the first block of the rest that does not fit,
    and so on.
    """
    closed: list[str] = []
    rest = list(removed)
    while rest and cost_without(closed + rest) < enough:
        unfit = rest[-1]
        closed += [name for name in rest if name == unfit]
        rest = _shortest_prefix([name for name in rest if name != unfit], cost_without, limit, closed)
    return closed + rest


def _shortest_prefix(ranking: list[str], cost_without: _CostCache, limit: float, closed: list[str]) -> list[str]:
    """Return the shortest prefix of `ranking` whose removal, together with `closed`, meets the limit; removing all of it must do so."""
    low, high = 0, len(ranking)
    while low < high:
        middle = (low + high) // 2
        if cost_without(closed + ranking[:middle]) <= limit:
            high = middle
        else:
            low = middle + 1
    return ranking[:high]


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: parameter.shape for name, parameter in network.named_parameters()}

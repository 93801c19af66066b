"""From importance and a latency budget to widths: the search of `gcc.pruning.search`, by a clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from gcc.errors import BudgetError
from gcc.pruning.budget import LatencyBudget, Limit
from gcc.pruning.cost import Cost
from gcc.pruning.ranking import CostCache, Ranking, least_removed, require_within_reach
from gcc.registry.types import Group

NEAR_ENOUGH = 0.1
"""Share of the budget that may stay unused: times vary, and one measurement takes seconds."""
NEAR_IN_MACS = 0.05
"""Share of the MACs by which the largest network that is fast enough may differ from the smallest one that is too slow."""
MAX_TIMINGS = 30
"""Measurements after which no further one begins."""


def search_latency(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    cost: Callable[[Mapping[str, int]], Cost],
    milliseconds: Callable[[Mapping[str, int]], float],
    budget: LatencyBudget,
    round_to: int = 1,
) -> dict[str, int]:
    """Return the widths of the largest network whose measured time is within the budget, by a global ranking of channels.

    A measurement takes seconds, and a count of MACs does not. So each candidate is what `search_widths` finds for a number of MACs, which
    is interpolated between the largest network that was fast enough and the smallest one that was too slow. These two close in until the
    former is within 10 % of the budget, or they differ by less than 5 % in MACs, or no network lies between them.

    Times vary, and a search picks lucky ones. The result is therefore timed again, and if it is too slow, the search goes on below it.
    If more than 10 % of the budget would stay unused, the network that was too slow is timed again first. Only widths whose last
    measured time is within the budget are returned.

    Args:
        groups: the channel groups.
        scores: importance by group name, (channels,); larger is more important. A group whose score is None keeps its full width.
        cost: returns the cost of a network with given widths.
        milliseconds: returns how long a network with given widths takes; each call measures.
        budget: the longest time allowed.
        round_to: a width that loses channels becomes a multiple of this.

    Raises:
        BudgetError: the budget lies outside the range that removing channels can reach, or no second measurement confirmed any widths.
        TrainingError: a score is not finite.
    """
    limit = budget.milliseconds
    ranking, clock = Ranking(groups, scores, round_to), _Clock.of(groups, cost, milliseconds, round_to)
    smallest, largest = _extremes(ranking, clock, budget)
    fast, slow = smallest, largest
    while len(clock.times) < MAX_TIMINGS:
        removed = _between(fast, slow, ranking, clock.macs_without, limit)
        if removed is not None:
            candidate = clock.timed(removed)
            if candidate.milliseconds <= limit:
                fast = candidate
            else:
                slow = candidate
        elif not slow.is_certain and fast.milliseconds < (1 - NEAR_ENOUGH) * limit:
            slow = clock.timed_again(slow)
            if slow.milliseconds <= limit:
                fast, slow = slow, largest
        else:
            again = clock.timed_again(fast)
            if again.milliseconds <= limit:
                return clock.macs_without.widths(again.removed)
            if fast is smallest:
                break
            fast, slow = smallest, again
    raise BudgetError(
        f"budget {limit:.4g} ms by {budget.runtime} on this machine: times vary too much to meet it. {len(clock.times)} measurements "
        f"found networks that took {min(clock.times):.4g} ms to {max(clock.times):.4g} ms, and none that met it twice; close other "
        "programs, or give a larger budget"
    )


def estimate_limit(
    groups: Sequence[Group],
    scores: Mapping[str, Tensor | None],
    cost: Callable[[Mapping[str, int]], Cost],
    milliseconds: Callable[[Mapping[str, int]], float],
    budget: LatencyBudget,
    round_to: int = 1,
) -> Limit:
    """Return the MACs per sample with which a network takes about as long as the budget allows, if time grows linearly with them.

    Only the smallest and the full network are timed. The arguments are those of `search_latency`.

    Raises:
        BudgetError: the budget lies outside the range that removing channels can reach.
        TrainingError: a score is not finite.
    """
    ranking, clock = Ranking(groups, scores, round_to), _Clock.of(groups, cost, milliseconds, round_to)
    smallest, largest = _extremes(ranking, clock, budget)
    span = largest.milliseconds - smallest.milliseconds
    share = (budget.milliseconds - smallest.milliseconds) / span if span else 1.0
    return Limit(smallest.macs + share * (largest.macs - smallest.macs), "MACs", lambda cost: cost.macs)


@dataclass(frozen=True)
class _Candidate:
    """A network that was timed.

    Attributes:
        removed: the blocks of channels that it lacks.
        macs: multiply-accumulates per sample.
        milliseconds: its last time.
        is_certain: whether it was timed again.
    """

    removed: Sequence[str]
    macs: float
    milliseconds: float
    is_certain: bool = False


@dataclass(frozen=True)
class _Clock:
    """Times networks.

    Attributes:
        macs_without: the MACs without given blocks of channels.
        milliseconds: returns how long a network with given widths takes.
        times: all results so far.
    """

    macs_without: CostCache
    milliseconds: Callable[[Mapping[str, int]], float]
    times: list[float] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        groups: Sequence[Group],
        cost: Callable[[Mapping[str, int]], Cost],
        milliseconds: Callable[[Mapping[str, int]], float],
        round_to: int,
    ) -> _Clock:
        """Return a clock for the networks that removing blocks of `round_to` channels from groups can make."""
        return cls(CostCache(groups, lambda widths: cost(widths).macs, round_to), milliseconds)

    def timed(self, removed: Sequence[str]) -> _Candidate:
        """Return the network without the removed blocks, with its time."""
        self.times.append(self.milliseconds(self.macs_without.widths(removed)))
        return _Candidate(removed, self.macs_without(removed), self.times[-1])

    def timed_again(self, candidate: _Candidate) -> _Candidate:
        """Return a network with a second time in place of the first."""
        return replace(self.timed(candidate.removed), is_certain=True)


def _extremes(ranking: Ranking, clock: _Clock, budget: LatencyBudget) -> tuple[_Candidate, _Candidate]:
    """Return the smallest and the full network with their times, and refuse a budget that is not between them."""
    smallest, largest = clock.timed(ranking.names), clock.timed([])
    unit = f"by {budget.runtime} on this machine"
    require_within_reach(smallest.milliseconds, largest.milliseconds, budget.milliseconds, lambda value: f"{value:.4g} ms", unit)
    return smallest, largest


def _between(fast: _Candidate, slow: _Candidate, ranking: Ranking, macs_without: CostCache, limit: float) -> list[str] | None:
    """Return the blocks to remove for a network between two others, probably one close to the limit; None if none needs to be timed."""
    if fast.milliseconds >= (1 - NEAR_ENOUGH) * limit or fast.macs >= (1 - NEAR_IN_MACS) * slow.macs:
        return None
    share = ((1 - NEAR_ENOUGH / 2) * limit - fast.milliseconds) / (slow.milliseconds - fast.milliseconds)
    macs, most = fast.macs + min(max(share, 0.2), 0.8) * (slow.macs - fast.macs), slow.macs - 1
    if macs_without(least_removed(ranking, macs_without, macs)) <= fast.macs:
        # Nothing lies between these MACs and the faster network. Bisection finds the network that follows it.
        while most - macs > 0.01 * macs:
            middle = (macs + most) / 2
            if macs_without(least_removed(ranking, macs_without, middle)) > fast.macs:
                most = middle
            else:
                macs = middle
        macs = most
    removed = least_removed(ranking, macs_without, macs)
    return removed if fast.macs < macs_without(removed) < slow.macs else None

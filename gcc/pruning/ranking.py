"""The order in which channels are removed, and how many of them must be removed to meet a limit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from gcc.errors import BudgetError, TrainingError
from gcc.registry.types import Group

NEAR_ENOUGH = 0.01
"""Share of the limit that may stay unused although other removals might use more of it."""


class Ranking:
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
                    f"the importance of the channels of {group.name!r} is not finite: expected finite weights and gradients"
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

    def importance_without(self, removed: Sequence[str], cost_without: CostCache) -> float:
        """Return the total importance of the channels that stay, except those of groups that cost nothing any more."""
        count, cost = Counter(removed), cost_without(removed)
        total = 0.0
        for name, blocks in self._blocks.items():
            rest = [name] * (len(blocks) - count[name])
            if name not in self._levels or cost_without([*removed, *rest]) < cost:
                total += sum(blocks[count[name] :])
        return total


class CostCache:
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


def require_within_reach(smallest: float, largest: float, limit: float, shown: Callable[[float], str], unit: str) -> None:
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
            + ("unpruned, it already meets the budget: give a smaller one" if limit > largest else "give a larger budget")
        )


def least_removed(ranking: Ranking, cost_without: CostCache, limit: float) -> list[str]:
    """Return the blocks to remove so that the cost is within `limit`, and near it if that can be reached.

    If no removal brings the cost within the limit, that is all blocks of `ranking`.
    """
    enough = (1 - NEAR_ENOUGH) * limit
    candidates, blocks = [], ranking.names
    while cost_without(blocks) <= limit:
        removed = _shortest_prefix(blocks, cost_without, limit, closed=[])
        candidates.append(_refill(removed, cost_without, limit, enough))
        if cost_without(candidates[-1]) >= enough or not removed or not ranking.is_level_gone(removed):
            break
        *others, last = removed
        blocks = others + [name for name in blocks[len(removed) :] if name != last]
    return max(candidates, key=lambda removed: ranking.importance_without(removed, cost_without), default=ranking.names)


def _refill(removed: Sequence[str], cost_without: CostCache, limit: float, enough: float) -> list[str]:
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


def _shortest_prefix(ranking: list[str], cost_without: CostCache, limit: float, closed: list[str]) -> list[str]:
    """Return the shortest prefix of `ranking` whose removal, together with `closed`, meets the limit; removing all of it must do so."""
    low, high = 0, len(ranking)
    while low < high:
        middle = (low + high) // 2
        if cost_without(closed + ranking[:middle]) <= limit:
            high = middle
        else:
            low = middle + 1
    return ranking[:high]

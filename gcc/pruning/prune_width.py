"""The width of the generator that is pruned, where it follows from the budget."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import generator_cost
from gcc.registry.architecture import Architecture

HEADROOM = 2
"""How many times the budget a generator costs before it is pruned, at least."""


def width_for_budget(architecture: Architecture[Any]) -> int:
    """Return the smallest width whose unpruned generator costs at least twice the recipe's budget, and at most the teacher's width.

    If there are several budgets, the width suits the largest one. A latency is not measured for this: its width is the teacher's. So is
    the width of a generator that has only one.

    Raises:
        BudgetError: the recipe's budget cannot be read.
    """
    recipe = architecture.recipe
    budgets = Budget.parse_each(recipe.budget, architecture.generators).values()
    if architecture.has_one_width or any(isinstance(budget, LatencyBudget) for budget in budgets):
        return int(recipe.ngf)
    teacher = generator_cost(architecture, architecture.full_widths(recipe.ngf))
    limits = [budget.resolve(teacher, recipe.mac_counter) for budget in budgets if isinstance(budget, Budget)]

    def has_headroom(base: int) -> bool:
        cost = generator_cost(architecture, architecture.full_widths(base))
        return all(limit.measure(cost) >= HEADROOM * limit.value for limit in limits)

    return 1 + bisect_left(range(1, recipe.ngf), True, key=has_headroom)

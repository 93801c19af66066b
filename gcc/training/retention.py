"""The learning rate of the retention factors, which must be able to fall below tau within a run."""

from __future__ import annotations

from gcc.training.context import RunContext

MAX_RATE = 0.02
"""The highest learning rate that retention factors get by themselves. It closes a channel in about 50 steps."""


def alpha_rate(context: RunContext) -> float:
    """Return the learning rate that retention factors start with: the recipe's, or a higher one if the run is short.

    Adam changes a factor by about one learning rate per step if the signs of its gradients agree. A factor starts at 1 and closes its
    channel below tau. The returned rate lets a factor fall by at least `alpha_reach` times 1 - tau, unless that takes more than `MAX_RATE`.
    """
    recipe = context.recipe
    return max(recipe.lr_alpha, min(MAX_RATE, sufficient_alpha_rate(context))) if recipe.alpha_reach else recipe.lr_alpha


def alpha_range(context: RunContext, rate: float) -> float:
    """Return about how far a retention factor can fall in the whole run with a learning rate."""
    return rate * _effective_steps(context)


def sufficient_alpha_rate(context: RunContext) -> float:
    """Return the learning rate with which a retention factor can fall by `alpha_reach` times 1 - tau; without that, by the default."""
    recipe = context.recipe
    return (recipe.alpha_reach or type(recipe).alpha_reach) * (1 - recipe.tau) / _effective_steps(context)


def _effective_steps(context: RunContext) -> float:
    """Return the number of steps of the second step, each weighted with the factor on the learning rate in its epoch."""
    recipe, per_epoch, total = context.recipe, context.loader.steps, context.training_steps
    factors = (recipe.alpha_rate_factor(epoch) for epoch in range(1, recipe.epochs + 1))
    return sum(factor * min(per_epoch, total - index * per_epoch) for index, factor in enumerate(factors))

"""The distillers that a recipe names, with their factors."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor, nn

from gcc.errors import PluginError, RecipeError
from gcc.recipe import Recipe
from gcc.registry import DISTILLERS, Batch, GeneratorView, Networks
from gcc.utils.weights import Weights


class Distillers:
    """The distillers of a recipe. Their losses are those of each one, multiplied by its factor.

    Attributes:
        factors: by name.

    Args:
        recipe: the recipe of the run.

    Raises:
        RecipeError: `distillers` cannot be read, or a distiller does not fit the recipe.
        PluginError: a distiller is unknown or does not work.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.factors = parse_factors(recipe.distillers)
        self._by_name = {name: DISTILLERS.load(name)(recipe) for name in self.factors}

    def __str__(self) -> str:
        """Return the names and those factors that are not 1."""
        return ", ".join(name if factor == 1 else f"{name} times {factor:g}" for name, factor in self.factors.items())

    @property
    def reads_generators(self) -> bool:
        """Whether one of them reads features of the generators."""
        return any(distiller.reads_generators for distiller in self._by_name.values())

    @property
    def reads_discriminators(self) -> bool:
        """Whether one of them reads features of the teacher's discriminators."""
        return any(distiller.reads_discriminators for distiller in self._by_name.values())

    def build_auxiliary(self, weights: Weights) -> dict[str, dict[str, nn.Module]]:
        """Return the frozen networks that they read, by distiller and name.

        Raises:
            GccError: the weights of a network are missing or do not fit.
        """
        return {name: distiller.build_auxiliary(weights) for name, distiller in self._by_name.items()}

    def losses(self, batch: Batch, student: GeneratorView, teacher: GeneratorView, auxiliary: Mapping[str, Networks]) -> dict[str, Tensor]:
        """Return all weighted losses by name; `auxiliary` has the networks of `build_auxiliary`.

        Raises:
            PluginError: two distillers give a loss the same name.
        """
        losses: dict[str, Tensor] = {}
        for name, distiller in self._by_name.items():
            own = distiller.losses(batch, student, teacher, auxiliary[name])
            if taken := losses.keys() & own.keys():
                raise PluginError(f"distiller {name!r} has a loss {min(taken)!r}, and so has another one of {', '.join(self.factors)}")
            losses |= {term: self.factors[name] * loss for term, loss in own.items()}
        return losses


def reads_teacher_discriminators(recipe: Recipe) -> bool:
    """Return whether the student's losses read the teacher's discriminators: their features, or the target of Eq. 7."""
    return Distillers(recipe).reads_discriminators or bool(recipe.lambda_global and recipe.discriminator != "none")


def parse_factors(text: str) -> dict[str, float]:
    """Return the factors of distillers by name, from names joined by commas, each with a factor if it is not 1.

    Raises:
        RecipeError: a name is missing or given twice, or a factor is not a positive number.

    >>> parse_factors("gcc, omgd*0.5")
    {'gcc': 1.0, 'omgd': 0.5}
    """
    factors: dict[str, float] = {}
    for part in text.split(",") if text.strip() else ():
        name, star, factor = (word.strip() for word in part.partition("*"))
        if not name:
            raise RecipeError(f"distillers = {text!r}: expected names joined by commas, such as gcc,omgd*0.5")
        if name in factors:
            raise RecipeError(f"distillers = {text!r}: {name} is given twice")
        factors[name] = _parsed(factor, text) if star else 1.0
    return factors


def _parsed(factor: str, text: str) -> float:
    try:
        value = float(factor)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise RecipeError(f"distillers = {text!r}: {factor!r} is not a positive number: expected a factor, such as gcc,omgd*0.5")
    return value

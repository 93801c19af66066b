"""Names of recipe fields: the present ones, and those of version 0.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from gcc.errors import RecipeError
from gcc.utils.user_warnings import warn_user

T = TypeVar("T")

RENAMED: Mapping[str, str] = {
    "alpha_decay": "alpha_decay_epochs",
    "counter": "mac_counter",
    "decay": "decay_fraction",
    "keep": "min_keep_ratio",
    "metrics": "evaluators",
    "order": "update_order",
}
"""Present names of fields by those that they had in version 0.1, which this version still accepts."""


def renamed(settings: Mapping[str, T]) -> dict[str, T]:
    """Return settings with every field under its present name, and warn of each old name.

    Raises:
        RecipeError: a field is given under its old name and its present one.
    """
    for old in sorted(settings.keys() & RENAMED.keys()):
        warn_user(f"the recipe field {old} is now called {RENAMED[old]}", FutureWarning)
    return current_names(settings)


def current_names(settings: Mapping[str, T]) -> dict[str, T]:
    """Return settings with the present name of every field.

    Raises:
        RecipeError: a field is given under its old and its present name.

    >>> current_names({"decay": 0.5, "size": 64})
    {'decay_fraction': 0.5, 'size': 64}
    """
    for old in settings.keys() & RENAMED.keys():
        if RENAMED[old] in settings:
            raise RecipeError(f"{old} is now called {RENAMED[old]}, and both are given: leave {old} out")
    return {RENAMED.get(name, name): value for name, value in settings.items()}

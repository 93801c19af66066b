"""How long runs are, and how their settings differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcc.errors import RecipeError
from gcc.utils.units import counted

LENGTH_FIELDS = frozenset({"epochs", "steps"})
"""Fields that decide how long a run is. Settings name one of them, and it may grow when the run is resumed."""


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Describe how settings differ; the text is empty if they do not.

    >>> differences({"tau": 0.5, "size": 64}, {"tau": 0.3, "size": 64})
    'tau was 0.5 and is 0.3'
    >>> differences({"epochs": 2, "steps": 130}, {"epochs": 4, "steps": None})
    'the length was 130 steps and is 4 epochs'
    >>> differences({"epochs": 2, "steps": 130, "batch_size": 1}, {"epochs": 4, "steps": 130, "batch_size": 2})
    'batch_size was 1 and is 2'
    """
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    units = [name for name in names if name in LENGTH_FIELDS]
    texts = [f"{name} was {_or_unset(before.get(name))} and is {_or_unset(now.get(name))}" for name in names if name not in units]
    if "steps" in units:
        texts.insert(0, f"the length was {_length_text(before)} and is {_length_text(now)}")
    elif units and not now.get("steps"):
        texts.insert(0, f"epochs was {before.get('epochs')} and is {now.get('epochs')}")
    return "; ".join(texts)


def require_one_length(settings: Mapping[str, Any]) -> None:
    """Refuse settings that name the length of a run in both units.

    Raises:
        RecipeError: they do.
    """
    if all(settings.get(name) is not None for name in LENGTH_FIELDS):
        raise RecipeError("`epochs` and `steps` exclude each other: give the length of the run in one of them")


def without_replaced_length(settings: Mapping[str, Any], replacing: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without the length of a run, in either unit, if the settings that replace some of them have one.

    >>> without_replaced_length({"epochs": 2, "tau": 0.5}, {"steps": 130}), without_replaced_length({"epochs": 2}, {"tau": 0.5})
    ({'tau': 0.5}, {'epochs': 2})
    """
    dropped = LENGTH_FIELDS if LENGTH_FIELDS & replacing.keys() else frozenset[str]()
    return {name: value for name, value in settings.items() if name not in dropped}


def saved_length(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the field that the length of a saved run was given in; a run also saves the epochs that its steps took."""
    unit = "steps" if settings.get("steps") else "epochs"
    return {unit: settings[unit]} if unit in settings else {}


def training_steps(settings: Mapping[str, Any], steps_per_epoch: int) -> int:
    """Return the steps of a run's last stage."""
    steps: int = settings.get("steps") or settings["epochs"] * steps_per_epoch
    return steps


def differs_in_length_only(before: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Return whether settings are the same except for how long the run is.

    >>> differs_in_length_only({"epochs": 2, "size": 64}, {"epochs": 4, "size": 64})
    True
    """
    return all(name in LENGTH_FIELDS for name in {**before, **now} if before.get(name) != now.get(name))


def _length_text(settings: Mapping[str, Any]) -> str:
    ((unit, number),) = saved_length(settings).items()
    return counted(number, unit.removesuffix("s"))


def _or_unset(value: Any) -> Any:
    return "not set" if value is None else value

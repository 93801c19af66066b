"""Settings of recipes as texts, mappings and TOML files."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from gcc.errors import RecipeError, suggestion
from gcc.recipe.kinds import parsed
from gcc.recipe.names import renamed
from gcc.recipe.recipe import Recipe, fields
from gcc.recipe.sizes import with_size_fields

R = TypeVar("R", bound="Recipe")


def changed(recipe: R, settings: Mapping[str, Any]) -> R:
    """Return `recipe` with changed fields; a string is parsed as the field's type (`--set key=value`).

    Raises:
        RecipeError: a field is unknown, or its value has the wrong type or is out of range.
    """
    kinds = fields(type(recipe))
    settings = with_size_fields(renamed(settings))
    for name in settings:
        if name not in kinds:
            raise RecipeError(f"unknown recipe field {name!r}{suggestion(name, kinds)}")
    values = {name: parsed(name, value, kinds[name]) if isinstance(value, str) else value for name, value in settings.items()}
    return dataclasses.replace(recipe, **values)


def read_toml(path: Path) -> dict[str, Any]:
    """Read the settings of a recipe file, including `arch` if the file has it.

    Raises:
        RecipeError: the file cannot be read, or is not TOML with plain values.
    """
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise RecipeError(f"cannot read the recipe {path}: {reason}") from error
    for name, value in settings.items():
        if not isinstance(value, bool | int | float | str):
            raise RecipeError(f"{path}: {name} = {value!r}: expected a number, a string, true or false")
    return settings


def with_new_fields(recipe: Recipe, saved: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that an earlier version saved, with the defaults of the fields that it did not have."""
    defaults = {field.name: field.default for field in dataclasses.fields(recipe)}
    return {name: value for name, value in defaults.items() if value not in (None, dataclasses.MISSING)} | dict(saved)

"""The types of recipe fields: checks, and values given as texts."""

from __future__ import annotations

import types
from typing import Any, Literal, Union, get_args, get_origin

from gcc.errors import RecipeError, budget_suggestion
from gcc.recipe.ranges import LARGEST_NUMBER


def checked(name: str, value: Any, kind: Any) -> Any:
    """Return a field's value, as a float if its type is one.

    Raises:
        RecipeError: it has another type.
    """
    inner, optional = _optional(kind)
    if value is None and optional:
        return value
    if get_origin(inner) is Literal:
        fits = value in get_args(inner)
    elif inner is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
        value = float(value) if fits else value
    elif inner is int:
        fits = isinstance(value, int) and not isinstance(value, bool)
    else:
        fits = isinstance(value, inner)
    if not fits:
        raise RecipeError(f"{name} = {value!r}: expected {_describe(kind)}{budget_suggestion(value) if name == 'budget' else ''}")
    return value


def parsed(name: str, text: str, kind: Any) -> Any:
    """Return the value of a field that a text stands for (`--set name=text`).

    Raises:
        RecipeError: the text stands for no value of this type.
    """
    inner, optional = _optional(kind)
    if optional and text.lower() == "none":
        return None
    if get_origin(inner) is Literal:
        return next((choice for choice in get_args(inner) if str(choice) == text), text)
    if inner is bool and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return inner(text) if inner in (int, float) else text
    except ValueError as error:
        raise RecipeError(f"{name} = {text!r}: expected {_describe(kind)}") from error


def _optional(kind: Any) -> tuple[Any, bool]:
    if get_origin(kind) in (types.UnionType, Union):
        (inner,) = (arg for arg in get_args(kind) if arg is not type(None))
        return inner, True
    return kind, False


def _describe(kind: Any) -> str:
    inner, optional = _optional(kind)
    if get_origin(inner) is Literal:
        text = "one of " + ", ".join(map(str, get_args(inner)))
    else:
        text = {int: "a whole number", float: "a number", bool: "true or false", str: "a string"}[inner]
    return f"{text}, or none" if optional else text

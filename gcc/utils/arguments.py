"""Refuses arguments of the wrong type, by the annotations of the function that they are for."""

from __future__ import annotations

import os
import reprlib
import types
import typing
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from inspect import signature
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar, Union, get_args, get_origin

from gcc.errors import GccError, budget_suggestion

P = ParamSpec("P")
T = TypeVar("T")

OWN_MODULE = (
    "for your own module, `gcc.prune` returns a smaller one, `gcc.optimize` a faster one, `torch.onnx.export` and "
    "`torch.export.export` export it, and `torch.utils.benchmark` times it"
)
DESCRIPTIONS: Mapping[Any, str] = {
    type(None): "None",
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a string",
    Path: "a path",
}


def checked_arguments(function: Callable[P, T]) -> Callable[P, T]:
    """Let a function refuse, with a `GccError`, arguments that do not fit their annotations.

    >>> @checked_arguments
    ... def repeated(text: str, times: int = 2) -> str:
    ...     return times * text
    >>> repeated("ab")
    'abab'
    >>> repeated("ab", "3")
    Traceback (most recent call last):
    gcc.errors.GccError: times = '3': expected a whole number
    """
    shape = signature(function)

    @wraps(function)
    def checked(*arguments: P.args, **keywords: P.kwargs) -> T:
        kinds = typing.get_type_hints(function)
        for name, value in shape.bind(*arguments, **keywords).arguments.items():
            if shape.parameters[name].kind not in (shape.parameters[name].VAR_KEYWORD, shape.parameters[name].VAR_POSITIONAL):
                require_kind(name, value, kinds.get(name, Any))
        return function(*arguments, **keywords)

    return checked


def require_kind(name: str, value: Any, kind: Any) -> None:
    """Refuse a value that is not of a type, given as in an annotation.

    Raises:
        GccError: the value does not fit; the message has its name.
    """
    if not _fits(value, kind):
        raise GccError(f"{name} = {shown(value)}: expected {_described(kind)}{_advice(name, value, kind)}")


def shown(value: Any) -> str:
    """Return a short description of a value in one line, for messages.

    >>> shown([0] * 100)
    '[0, 0, 0, 0, 0, 0, ...]'
    """
    return " ".join(reprlib.repr(value).split())


def _fits(value: Any, kind: Any) -> bool:
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any or isinstance(kind, TypeVar):
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if origin is not None:
        if isinstance(value, str | bytes) or not isinstance(value, origin):
            return False
        if origin is tuple:
            kinds = parts[:1] * len(value) if parts[-1] is ... else parts
            return len(value) == len(kinds) and all(map(_fits, value, kinds))
        if isinstance(value, Mapping):
            return all(_fits(key, parts[0]) and _fits(item, parts[1]) for key, item in value.items())
        return not isinstance(value, Collection) or all(_fits(item, parts[0]) for item in value)
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    if kind is Path:
        return isinstance(value, str | os.PathLike)
    return isinstance(value, kind)


def advice_without_arguments(factory: Callable[..., object], example: str) -> str:
    """Return what to give in place of a function or class that needs arguments, with an example; empty if it needs none."""
    try:
        signature(factory).bind()
    except TypeError:
        return f"; {getattr(factory, '__name__', 'this one')} needs arguments: give a function without any that calls it, such as {example}"
    except ValueError:  # Builtins may have no signature.
        return ""
    return ""


def _advice(name: str, value: Any, kind: Any) -> str:
    """Return what to do about frequent mistakes.

    These are a class instead of an object, a module instead of its folder, weights instead of a module, and a number as a budget.
    """
    if isinstance(value, type) and any(isinstance(part, type) and issubclass(value, part) for part in (kind, *get_args(kind))):
        return f"; call the class: {name} = {value.__name__}(...)"
    if _fits(Path(), kind) and hasattr(value, "state_dict"):
        return f" of a saved generator; {OWN_MODULE}"
    if isinstance(value, str | os.PathLike | Mapping) and any(hasattr(part, "load_state_dict") for part in (kind, *get_args(kind))):
        weights = "these" if isinstance(value, Mapping) else f"torch.load({str(value)!r}, weights_only=True)"
        return f"; weights alone are no network: make yours, call its load_state_dict with {weights}, and give it as {name}"
    if name not in ("budget", "budgets"):
        return ""
    values = value if isinstance(value, list | tuple) else [value]
    return next(filter(None, map(budget_suggestion, values)), "")


def _described(kind: Any) -> str:
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Callable:
        return "a class or a function"
    if origin in (Union, types.UnionType):
        # A string is a path, too.
        return " or ".join(dict.fromkeys(_described(part) for part in parts if not (part is str and Path in parts)))
    if origin is Literal:
        *first, last = map(repr, parts)
        return " or ".join([", ".join(first), last] if first else [last])
    if origin is tuple:
        return f"a tuple of {' and '.join(_described(part) if part is not ... else 'so on' for part in parts)}"
    if origin is not None:
        described = [_described(part) for part in parts]
        return f"a {origin.__name__.lower()} with {' and '.join(described)} as its items"
    return DESCRIPTIONS.get(kind) or f"an object of type {kind.__name__}"

"""Attributes and keywords by the names that they had in version 0.1."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


TRANSPARENT = ("gcc", "contextlib", "functools")
"""Packages whose frames lie between a user's line of code and a warning about it."""


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn of the innermost line of code that is not part of this package, such as the line of a user's script or of a plugin."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in TRANSPARENT:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


class RenamedAttributes:
    """A class whose attributes can still be read by their old names, with a warning.

    Attributes:
        renamed: present names by old ones.
    """

    renamed: ClassVar[Mapping[str, str]] = {}

    def __getattr__(self, name: str) -> Any:
        kind = type(self)
        if name not in kind.renamed:
            raise AttributeError(f"{kind.__name__!r} object has no attribute {name!r}", name=name, obj=self)
        warnings.warn(f"{kind.__name__}.{name} is now called {kind.renamed[name]}", FutureWarning, stacklevel=2)
        return getattr(self, kind.renamed[name])


def renamed_keywords(category: type[Warning], **renamed: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let a function accept keywords under their old names, with a warning that gives the present name.

    Args:
        category: of the warning; Python shows a `FutureWarning` to every user, a `DeprecationWarning` to developers.
        renamed: present keywords by old ones.

    Raises:
        TypeError: a keyword is given under both names.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        name = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for old in renamed.keys() & kwargs.keys():
                new = renamed[old]
                if new in kwargs:
                    raise TypeError(f"{name}(): {old} is now called {new}, and both are given: leave {old} out")
                warnings.warn(f"{name}(): the keyword {old} is now called {new}", category, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate

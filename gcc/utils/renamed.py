"""Attributes and keywords by the names that they had in version 0.1."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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

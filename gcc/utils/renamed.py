"""Attributes by the names that they had in version 0.1."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar


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

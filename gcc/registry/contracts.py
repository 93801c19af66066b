"""The import path that the contracts had in version 0.1; they are in `gcc.registry`."""

from __future__ import annotations

import warnings
from typing import Any


def __getattr__(name: str) -> Any:
    import gcc.registry

    present = gcc.registry.RENAMED.get(name, name)
    if name.startswith("_") or not hasattr(gcc.registry, present):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{__name__}.{name} is now gcc.registry.{present}", DeprecationWarning, stacklevel=2)
    return getattr(gcc.registry, present)

"""The contracts under the import path of version 0.1; they are in `gcc.registry`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    import gcc.registry

    return getattr(gcc.registry, name)

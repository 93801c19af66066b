"""The names of the runtimes that generators are timed in. Budgets contain them, so this module must not import torch."""

from __future__ import annotations

from gcc.errors import GccError, suggestion
from gcc.registry import RUNTIMES

TORCH = ("cpu", "cuda")
"""Torch itself, on the CPU or on a GPU."""
FORMATS = {"onnx": "onnxruntime"}
"""File formats whose names differ from those of the runtimes."""


def runtime_names() -> list[str]:
    """Return the names of all runtimes, torch's first."""
    return [*TORCH, *RUNTIMES.names()]


def format_names() -> list[str]:
    """Return the names of all file formats."""
    names = {runtime: name for name, runtime in FORMATS.items()}
    return sorted(names.get(runtime, runtime) for runtime in RUNTIMES.names())


def require_runtime_name(name: str) -> None:
    """Refuse names that no runtime has.

    Raises:
        GccError: the name is unknown.
    """
    if name not in runtime_names():
        raise GccError(f"device {name!r} is unknown{suggestion(name, runtime_names())}")

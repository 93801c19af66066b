"""GCC: generator-discriminator cooperative compression of GAN generators (Li et al., NeurIPS 2021).

>>> from gcc import Compressor, Teacher, load

Names are imported when they are first used, so that importing `gcc` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcc.artifact import load as load
    from gcc.benchmarking import bench as bench
    from gcc.compressor import Compressor as Compressor
    from gcc.errors import GccError as GccError
    from gcc.exporting import export as export
    from gcc.inference import optimize as optimize
    from gcc.pruning.any_generator import prune as prune
    from gcc.teacher import Teacher as Teacher
    from gcc.trainer import Trainer as Trainer

_HOMES = {
    "Compressor": "gcc.compressor",
    "GccError": "gcc.errors",
    "Teacher": "gcc.teacher",
    "Trainer": "gcc.trainer",
    "bench": "gcc.benchmarking",
    "export": "gcc.exporting",
    "load": "gcc.artifact",
    "optimize": "gcc.inference",
    "prune": "gcc.pruning.any_generator",
}

__all__ = ["Compressor", "GccError", "Teacher", "Trainer", "bench", "export", "load", "optimize", "prune"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'gcc' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

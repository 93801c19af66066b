"""GCC: generator-discriminator cooperative compression of GAN generators (Li et al., NeurIPS 2021).

>>> from gcc import Compressor, Teacher, load

A name is imported when it is first used, so that `import gcc` loads neither torch nor anything else that is slow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gcc.artifacts.model import load as load
    from gcc.compressor import Compressor as Compressor
    from gcc.deploy.bench import bench as bench
    from gcc.deploy.export import export as export
    from gcc.deploy.optimize import optimize as optimize
    from gcc.errors import GccError as GccError
    from gcc.experiments.sweep import Sweep as Sweep
    from gcc.pruning.graph.prune import prune as prune
    from gcc.training.step import Step as Step
    from gcc.training.teacher import Teacher as Teacher
    from gcc.training.teacher_trainer import Trainer as Trainer

    __version__: str

_MODULES = {
    "Compressor": "gcc.compressor",
    "GccError": "gcc.errors",
    "Step": "gcc.training.step",
    "Sweep": "gcc.experiments.sweep",
    "Teacher": "gcc.training.teacher",
    "Trainer": "gcc.training.teacher_trainer",
    "bench": "gcc.deploy.bench",
    "export": "gcc.deploy.export",
    "load": "gcc.artifacts.model",
    "optimize": "gcc.deploy.optimize",
    "prune": "gcc.pruning.graph.prune",
}
"""The public names and the modules that define them; type checkers read the same list above."""

__all__ = [*_MODULES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("gan-gcc")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES, "__version__"})

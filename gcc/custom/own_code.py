"""Generators in a user's own code, by a path that the user types."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcc.artifacts.config import Factory
from gcc.errors import GccError, first_line
from gcc.utils.arguments import advice_without_arguments
from gcc.utils.seeds import seeded
from gcc.utils.weights import read_fitting

FORM = "expected MODULE:NAME, a class or function that returns the full generator without arguments, such as my_package.models:Generator"


def factory_at(path: str) -> Factory:
    """Return what a path such as `my_package.models:Generator` names; modules of the current folder can be imported.

    Never call this with a path from a file.

    Raises:
        GccError: the path has another form, or the module cannot be imported, or does not have the name.
    """
    module_name, colon, name = path.partition(":")
    if module_name.endswith(".py"):
        raise GccError(f"generator {path!r} names a file, not a module: leave out .py, and write dots in place of slashes; {FORM}")
    if not (colon and name and all(part.isidentifier() for part in (*module_name.split("."), *name.split(".")))):
        raise GccError(f"generator {path!r}: {FORM}")
    here = os.getcwd()
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: Any = import_module(module_name)
    except Exception as error:  # A user's module can raise anything.
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise GccError(
            f"generator {path!r}: {module_name} cannot be imported: {reason}; expected a module of an installed package or of {here}"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise GccError(f"generator {path!r}: {module_name} has no {name}; {FORM}")
        found = getattr(found, part)
    if not callable(found):
        raise GccError(f"generator {path!r} is of type {type(found).__name__}; {FORM}")
    factory: Factory = found
    return factory


def generator_at(path: str, weights: Path | None) -> nn.Module:
    """Return the generator that a path makes, with the weights of a file, if one is given.

    Weights that the code draws are the same in every process, so that a run without a file can be resumed.

    Raises:
        GccError: it cannot be made, or the weights do not fit it.
    """
    network = _made(path, 0)
    if weights is not None:
        network.load_state_dict(read_fitting(weights, network.state_dict(), path))
    return network


def draws_weights(path: str, generator: nn.Module) -> bool:
    """Return whether the code at a path drew weights of a generator that it made; others are trained, or read from a file.

    Raises:
        GccError: it cannot make another one, to compare with.
    """
    given, other = (dict(network.named_parameters()) for network in (generator, _made(path, 1)))
    return given.keys() != other.keys() or any(not torch.equal(parameter, other[name]) for name, parameter in given.items())


def _made(path: str, seed: int) -> nn.Module:
    try:
        with seeded(seed, "generator"):
            network = factory_at(path)()
    except GccError:
        raise
    except Exception as error:  # A user's code can raise anything.
        advice = advice_without_arguments(factory_at(path), f"`def make(): return {path.partition(':')[2]}(...)` in the same module")
        raise GccError(f"generator {path!r} raised {type(error).__name__}: {first_line(error)}; {FORM}{advice}") from error
    if not isinstance(network, nn.Module):
        raise GccError(f"generator {path!r} returned {type(network).__name__}; {FORM}")
    return network

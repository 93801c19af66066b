"""Prepares generators for the runtimes that they are timed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from gcc.deploy.inputs import accepted_inputs, random_input
from gcc.deploy.optimize import fold, optimize
from gcc.deploy.runtime_names import TORCH
from gcc.errors import GccError
from gcc.registry import RUNTIMES, Inputs, Runtime
from gcc.utils.device import choose_device


def device_of(runtime: str) -> torch.device:
    """Return the device that a runtime expects its inputs on.

    Raises:
        GccError: this machine has no such device.
    """
    return choose_device("cuda" if runtime == "cuda" else "cpu")


def require_runtime(runtime: str) -> None:
    """Check that generators can be timed in a runtime on this machine.

    Raises:
        GccError: the device or a package is missing, or the runtime does not run here.
    """
    device_of(runtime)
    if runtime not in TORCH:
        program = RUNTIMES.load(runtime)()
        program.require()
        if not program.is_timed:
            reason = "finds no GPU" if program.on_gpu else "does not run generators"
            raise GccError(f"{runtime} {reason} on this system: choose another runtime")


@contextmanager
def program_errors(runtime: Runtime) -> Iterator[None]:
    """Turn what a program or its converter raises into `GccError`."""
    try:
        yield
    except (GccError, OSError):
        raise
    except Exception as error:  # A converter can raise anything.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise GccError(f"{runtime.title} cannot express this generator ({reason}): choose another format or runtime") from error


def inputs_in_runtime(runtime: str, inputs: Inputs, batch_sizes: Sequence[int]) -> Inputs:
    """Return the inputs that a runtime accepts, of those that a generator accepts.

    Raises:
        GccError: it does not accept one of the batch sizes.
    """
    if runtime in TORCH:
        return inputs
    program = RUNTIMES.load(runtime)()
    accepted = program.accepts(inputs)
    for size in batch_sizes:
        if accepted.one_sample and size > 1:
            raise GccError(f"batch size {size}: {program.title} takes {accepted}")
    return accepted


def load_in_runtime(network: nn.Module, example: Tensor, runtime: str) -> nn.Module:
    """Return a copy of a network, optimised for inference in a runtime on inputs like `example`, (N, ...).

    Raises:
        GccError: this machine lacks the device or the packages, or the runtime does not accept the example.
    """
    device = device_of(runtime)
    network, inputs = deepcopy(network).to(device), random_input(example.shape).to(device)
    if runtime in TORCH:
        return optimize(network, inputs)
    require_runtime(runtime)
    program, accepted = RUNTIMES.load(runtime)(), inputs_in_runtime(runtime, accepted_inputs(network, example), [len(example)])
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"generator{program.suffixes[0]}"
        folded = fold(network, inputs)
        with program_errors(program):
            program.write(folded, accepted, path, {})
            ready = program.read(path, folded)
    if ready is None:
        raise GccError(f"{program.title} does not run on this system, contrary to what its plugin says: choose another runtime")
    return ready

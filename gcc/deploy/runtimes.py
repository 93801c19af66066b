"""Prepares generators for the runtimes that they are timed in."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from gcc.deploy.inputs import accepted_inputs, random_input
from gcc.deploy.optimize import fold, optimize
from gcc.deploy.runtime_names import TORCH
from gcc.errors import GccError
from gcc.registry import RUNTIMES
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
        if not program.is_timed:
            raise GccError(f"generators are not timed in {program.title} on this system: choose another runtime")
        program.require()


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
    program = RUNTIMES.load(runtime)()
    accepted = program.accepts(accepted_inputs(network, example))
    if accepted.batch not in (None, len(example)):
        raise GccError(f"batch size {len(example)}: {program.title} takes {accepted}")
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"generator{program.suffixes[0]}"
        program.write(fold(network, inputs), accepted, path, {})
        ready = program.read(path, network)
    assert ready is not None
    return ready

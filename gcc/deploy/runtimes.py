"""The runtimes that generators are timed in."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from gcc.deploy.formats import read_onnx, require_onnx, write_onnx
from gcc.deploy.inputs import Inputs, random_input
from gcc.deploy.optimize import fold, optimize
from gcc.deploy.runtime_names import Runtime
from gcc.utils.device import choose_device


def device_of(runtime: Runtime) -> torch.device:
    """Return the device that a runtime expects its inputs on.

    Raises:
        GccError: this machine has no such device.
    """
    return choose_device("cuda" if runtime == "cuda" else "cpu")


def require_runtime(runtime: Runtime) -> None:
    """Check that this machine has the device and the packages of a runtime.

    Raises:
        GccError: the device or a package is missing.
    """
    device_of(runtime)
    if runtime == "onnxruntime":
        require_onnx()


def load_in_runtime(network: nn.Module, example: Tensor, runtime: Runtime) -> nn.Module:
    """Return a copy of a network, optimised for inference in a runtime on inputs like `example`, (1, ...).

    Raises:
        GccError: this machine lacks the device or the packages.
    """
    device = device_of(runtime)
    network, inputs = deepcopy(network).to(device), random_input(example.shape).to(device)
    if runtime != "onnxruntime":
        return optimize(network, inputs)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "generator.onnx"
        write_onnx(fold(network, inputs), Inputs.of(network, example), path)
        return read_onnx(path)

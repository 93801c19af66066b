"""The runtimes that generators are timed in."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from gcc.deploy.formats import read_onnx, require_onnx, write_onnx
from gcc.deploy.inputs import Inputs, random_input
from gcc.deploy.optimize import fold, optimize
from gcc.utils.device import choose_device

Runtime = Literal["cpu", "cuda", "onnxruntime"]
"""Torch on the CPU or on a GPU, and ONNX Runtime on the CPU."""
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)


def device_of(runtime: Runtime) -> torch.device:
    """Return where a runtime wants its inputs.

    Raises:
        GccError: this machine has no such device.
    """
    return choose_device("cuda" if runtime == "cuda" else "cpu")


def require_runtime(runtime: Runtime) -> None:
    """Refuse a runtime that this machine lacks.

    Raises:
        GccError: it lacks the device or the packages.
    """
    device_of(runtime)
    if runtime == "onnxruntime":
        require_onnx()


def load_in_runtime(network: nn.Module, example: Tensor, runtime: Runtime) -> nn.Module:
    """Return a copy of a network, which takes inputs like `example` (1, ...), made ready for inference in a runtime.

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

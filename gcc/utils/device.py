"""The device of a run."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

import torch

from gcc.errors import GccError, first_line, suggestion
from gcc.utils.distributed import is_distributed_launch

DEVICES = ("auto", "cpu", "cuda", "cuda:0")
"""Examples of the names of devices."""
LOCAL_RANK = "LOCAL_RANK"
"""Environment variable in which `torchrun` sets the number of a process on its machine."""


def choose_device(name: str) -> torch.device:
    """Return the device `name`. `auto` is the GPU if there is one; of several processes on a machine, each gets a different GPU.

    Raises:
        GccError: torch does not know the device, this machine does not have it, or one GPU is named for several processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and is_distributed_launch():
        if name != "cuda":
            raise GccError(f'each process of a run uses a different GPU: omit `device="{name}"`')
        name = f"cuda:{os.environ.get(LOCAL_RANK, '0')}"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise GccError(f"device {name!r} is unknown{suggestion(name, DEVICES)}") from error
    if device.type not in ("cpu", "cuda"):
        raise GccError(f"device {name!r} is not supported: expected {', '.join(DEVICES)}")
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise GccError(f"device {name!r} cannot be used: {_reason(device, error)}") from error
    if device.index is not None and device.type == "cuda":
        # Events, memory pinning and the support of bfloat16 belong to the current device.
        torch.cuda.set_device(device)
    return device


def _reason(device: torch.device, error: Exception) -> str:
    """Return why torch cannot use a device, and what to do."""
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if not (torch.version.cuda or torch.version.hip):
            return f"torch {torch.__version__} is built without CUDA; install a build with CUDA from pytorch.org, or use cpu"
        if not count:
            driver = first_line(error).partition(". ")[0]
            return f"torch finds no GPU on this machine ({driver}); check the GPU's driver, or use cpu"
        if device.index is not None and device.index >= count:
            return f"this machine has {count} GPU{'s' if count > 1 else ''}; the last one is cuda:{count - 1}"
    return first_line(error)


def peak_memory(device: torch.device) -> str:
    """Describe the peak memory of this process, and on a GPU also that of its tensors."""
    # Windows does not have this module.
    import resource

    # Linux counts in kilobytes, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"
    return peak + (f", {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB on {device}" if device.type == "cuda" else "")


def processors(device: torch.device) -> str:
    """Return the name and number of this machine's CPUs, and the name of the GPU if `device` is one."""
    cpu = f"{_cpu_name()}, {os.cpu_count()} CPUs"
    return f"{torch.cuda.get_device_name(device)}; {cpu}" if device.type == "cuda" else cpu


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(filter(None, names), platform.processor() or platform.machine())

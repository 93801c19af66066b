"""The device of a run."""

from __future__ import annotations

import os
import sys

import torch

from gcc.errors import GccError
from gcc.utils.distributed import is_distributed_launch

LOCAL_RANK = "LOCAL_RANK"
"""Where `torchrun` tells a process its number on this machine."""


def choose_device(name: str) -> torch.device:
    """Return the device `name`; `auto` is the GPU where there is one, of several processes on a machine each its own.

    Raises:
        GccError: torch knows no such device, this machine has none, or one GPU is named for several processes.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and is_distributed_launch():
        if name != "cuda":
            raise GccError(f"every process of a run has a GPU of its own: leave --device {name} out")
        name = f"cuda:{os.environ.get(LOCAL_RANK, '0')}"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = f" ({str(error).partition(chr(10))[0]})" if name.startswith("cuda") else ""
        raise GccError(f"device {name!r} cannot be used{reason}: expected auto, cpu, cuda or cuda:0") from error
    if device.type not in ("cpu", "cuda"):
        raise GccError(f"device {name!r} is not supported: expected auto, cpu, cuda or cuda:0")
    if device.index is not None and device.type == "cuda":
        # Events, memory pinning and bfloat16's support are those of the current device.
        torch.cuda.set_device(device)
    return device


def peak_memory(device: torch.device) -> str:
    """Return the most memory that this process has held so far, and on a GPU the most that its tensors have, as a text."""
    # Windows has no such module.
    import resource

    # In kilobytes, but on a Mac in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    held = f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"
    return held + (f", {torch.cuda.max_memory_allocated(device) / 1e9:.2f} GB on {device}" if device.type == "cuda" else "")

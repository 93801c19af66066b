"""How much memory is free."""

from __future__ import annotations

import os
from pathlib import Path

import torch

AVAILABLE = "MemAvailable:"
CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux tells what a container may use."""
FILES = ("active_file ", "inactive_file ")
"""Lines of its `memory.stat`: bytes of files that memory holds."""


def free_memory(device: torch.device) -> int | None:
    """Return how many bytes are free on the device, of a CPU those that this process may take; none where that is not told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = [value for value in (_free_here(), _free_in_container()) if value is not None]
    return min(found, default=None)


def _free_here() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        # No Linux: what is installed stands for what is free.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(AVAILABLE)), None)


def _free_in_container() -> int | None:
    try:
        limit, taken, told = ((CONTROL_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current", "memory.stat"))
    except OSError:
        return None
    # What is kept of files is given up where memory is asked for.
    kept = sum(int(line.split()[1]) for line in told.splitlines() if line.startswith(FILES))
    return int(limit) - int(taken) + kept if limit.isdecimal() else None

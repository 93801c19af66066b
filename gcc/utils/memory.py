"""How much memory is free."""

from __future__ import annotations

import os
from pathlib import Path

import torch

AVAILABLE = "MemAvailable:"
CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux shows the memory limits of a container."""
FILES = ("active_file ", "inactive_file ")
"""Lines of its `memory.stat` that count the bytes of cached files."""


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a GPU, or the bytes that this process may still take on a CPU; None if the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    limits = [limit for limit in (_free_on_machine(), _free_in_container()) if limit is not None]
    return min(limits, default=None)


def _free_on_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        # Not Linux: take the installed memory.
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(AVAILABLE)), None)


def _free_in_container() -> int | None:
    try:
        limit, used, stat = ((CONTROL_GROUP / name).read_text().strip() for name in ("memory.max", "memory.current", "memory.stat"))
    except OSError:
        return None
    # The kernel drops cached files when a process needs their memory.
    cached = sum(int(line.split()[1]) for line in stat.splitlines() if line.startswith(FILES))
    return int(limit) - int(used) + cached if limit.isdecimal() else None

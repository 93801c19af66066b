"""How much memory work would take, told without doing it; and how much there is."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gcc.training.execution import Execution

AVAILABLE = "MemAvailable:"
CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux tells what a container may use."""
FILES = ("active_file ", "inactive_file ")
"""Lines of its `memory.stat`: bytes of files that memory holds."""


class Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that come about in its context, and are alive.

    Attributes:
        now: bytes that are alive.
        most: bytes that were alive at the same time at the most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.most = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            # Views share a storage, which counts once.
            if isinstance(tensor, Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        return result

    def _add(self, count: int) -> None:
        self.now += count
        self.most = max(self.most, self.now)


class Imagined(Execution):
    """How networks run whose tensors are imagined: they are nowhere, and stay there."""

    def place(self, network: nn.Module) -> nn.Module:
        return network


@contextmanager
def imagined() -> Iterator[Tally]:
    """Let nothing be computed in this context: tensors have shapes and types without values, and are counted as if they had them."""
    with FakeTensorMode(allow_non_fake_inputs=True), Tally() as tally:
        yield tally


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

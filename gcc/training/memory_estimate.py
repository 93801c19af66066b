"""How much memory work would take, told without doing it; and how much there is."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gcc.training.precision import ExecutionConfig


class MemoryTracker(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that come about in its context, and are alive.

    Attributes:
        now: bytes that are alive.
        most: bytes that were alive at the same time at the most.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
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
        self.peak = max(self.peak, self.now)


class FakeExecution(ExecutionConfig):
    """How networks run whose tensors are imagined: they are nowhere, and stay there."""

    def to_device(self, network: nn.Module) -> nn.Module:
        return network


@contextmanager
def fake_tensors() -> Iterator[MemoryTracker]:
    """Let nothing be computed in this context: tensors have shapes and types without values, and are counted as if they had them."""
    with FakeTensorMode(allow_non_fake_inputs=True), MemoryTracker() as tracker:
        yield tracker

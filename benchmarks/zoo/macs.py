"""Multiply-accumulates of a network, product by product, as torch counts them while it runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from .calls import called


class _Products(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.macs: list[tuple[str, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> Any:
        output = func(*args, **(kwargs or {}))
        packet = func._overloadpacket
        if packet in flop_registry:
            self.macs.append((str(packet), flop_registry[packet](*args, **(kwargs or {}), out_val=output) // 2))
        return output


def products(network: nn.Module, inputs: Sequence[Any]) -> list[tuple[str, int]]:
    """Return the operator and the multiply-accumulates of every convolution and matrix product, in order."""
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), _separate_attention(), _Products() as counter:
        called(network, inputs)
    return counter.macs


@contextmanager
def _separate_attention() -> Iterator[None]:
    """Let `nn.MultiheadAttention` call its products one by one: torch does not count those of its fused operator."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def total(counted: Sequence[tuple[str, int]]) -> int:
    return sum(macs for _, macs in counted)


def untouched_share(before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]) -> float | None:
    """Return the share of the remaining multiply-accumulates in products that cost as much as before; None if the products differ."""
    if len(before) != len(after) or any(one[0] != other[0] for one, other in zip_longest(before, after)):
        return None
    return sum(macs for old, (_, macs) in zip(before, after, strict=True) if old[1] == macs) / max(1, total(after))

"""Helpers for any `nn.Module`: shapes without values, tensors by name, evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gcc.errors import GccError

Widths = dict[str, int]
"""Channels of a generator by width name."""


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network of shapes without values, in eval mode; it costs nothing to build."""
    with torch.device("meta"):
        return build().eval()


def shapes_of(network: nn.Module) -> nn.Module:
    """Return a copy of a network of shapes without values; tensors that several layers share stay shared."""
    without_values: dict[int, Any] = {}
    for tensor in tensors_of(network).values():
        made = torch.empty_like(tensor, device="meta")
        without_values[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else made
    return deepcopy(network, without_values)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return parameters and buffers by name: each as often as layers hold it, but once of a layer that has several names.

    So `torch.func.functional_call` takes them, with `tie_weights=False`; of such a layer it would not give back what it swaps twice.
    """
    return {
        f"{path}.{name}".lstrip("."): tensor
        for path, module in network.named_modules()
        for name, tensor in (module._parameters | module._buffers).items()
        if tensor is not None
    }


def outcome_of(network: nn.Module, *inputs: Tensor) -> Any:
    """Return what a network makes of its inputs; what the pass changes in its buffers is gone afterwards."""
    buffers = {name: tensor.clone() for name, tensor in tensors_of(network).items() if not isinstance(tensor, nn.Parameter)}
    return functional_call(network, buffers, inputs, tie_weights=False)


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put `network` into evaluation mode, and every module back into its own mode afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def require_finite(made: Tensor) -> None:
    """Refuse images that are no numbers.

    Raises:
        GccError: some values are infinite or NaN.
    """
    if not made.isfinite().all():
        raise GccError("the generator makes values that are no numbers: its training went wrong; take another epoch or run")

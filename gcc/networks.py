"""Building a family's networks, each initialised from a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gcc.errors import GccError
from gcc.registry import Architecture, Gate, no_gate
from gcc.training.seeds import seeded

Widths = dict[str, int]
"""Channels of a generator by width name."""


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network of shapes without values, in eval mode; it costs nothing to build."""
    with torch.device("meta"):
        return build().eval()


def generator_on_meta(architecture: Architecture[Any], widths: Mapping[str, int]) -> nn.Module:
    """Return a generator of shapes without values, in eval mode."""
    return on_meta(partial(architecture.build_generator, widths))


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


def build_generators(architecture: Architecture[Any], widths: Mapping[str, Mapping[str, int]], side: str) -> dict[str, nn.Module]:
    """Return freshly initialised generators of these widths, by name; `side` names their random numbers, such as "student"."""
    return {
        name: _initialised(architecture, partial(architecture.build_generator, chosen), f"{side} {name}") for name, chosen in widths.items()
    }


def build_discriminators(architecture: Architecture[Any], side: str, gate: Gate = no_gate) -> dict[str, nn.Module]:
    """Return freshly initialised discriminators by name, with `gate` where channels can be switched off."""
    return {
        name: _initialised(architecture, partial(architecture.build_discriminator, gate), f"{side} {name}")
        for name in architecture.discriminators
    }


def _initialised(architecture: Architecture[Any], build: Callable[[], nn.Module], use: str) -> nn.Module:
    with seeded(architecture.recipe.seed, use):
        network = build()
        architecture.initialise(network)
    return network


def require_finite(made: Tensor) -> None:
    """Refuse images that are no numbers.

    Raises:
        GccError: some values are infinite or NaN.
    """
    if not made.isfinite().all():
        raise GccError("the generator makes values that are no numbers: its training went wrong; take another epoch or run")

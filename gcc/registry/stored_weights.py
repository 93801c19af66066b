"""The weight that a layer computes with, whatever tensors it is stored as.

Under spectral norm, weight norm and other parametrisations, the stored tensor is not the weight, and multiplying it by a number may leave
the layer unchanged. Whatever scores a layer must therefore read its effective weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

EFFECTIVE = ":effective"
"""A buffer of this suffix holds the effective weight of a parameter that is a part of a stored weight."""
PARAMETRIZATIONS = "parametrizations"


def effective_weight(network: nn.Module, parameter: str) -> Tensor:
    """Return the weight that a layer computes with in evaluation mode.

    Gradients flow from it to the stored tensors. The network is not changed: spectral norm's power iteration does not advance.

    Args:
        network: holds the layer.
        parameter: name of the stored tensor, such as `Producer.parameter`. If it is the weight itself, the parameter is returned.
    """
    layer, name = _layer(network, parameter)
    if layer is None:
        path, _, own = parameter.rpartition(".")
        part = network.get_submodule(path)._buffers.get(own + EFFECTIVE)
        return network.get_parameter(parameter) if part is None else part
    for hook in _hooks(layer):
        weight: Tensor = hook.compute_weight(layer, False) if isinstance(hook, SpectralNorm) else hook.compute_weight(layer)
        return weight
    parametrizations: Any = layer.parametrizations
    with _evaluating(parametrizations[name]):
        weight = parametrizations[name]()
    return weight


def stored_parameters(network: nn.Module, parameter: str) -> list[nn.Parameter]:
    """Return the parameters that a layer's weight is computed from, given the name of one of them; of a plain weight, the weight alone."""
    layer, name = _layer(network, parameter)
    if layer is None:
        return [network.get_parameter(parameter)]
    if any(_hooks(layer)):
        return [stored for own, stored in layer.named_parameters(recurse=False) if own in (f"{name}_orig", f"{name}_g", f"{name}_v")]
    parametrizations: Any = layer.parametrizations
    return list(parametrizations[name].parameters())


def _layer(network: nn.Module, parameter: str) -> tuple[nn.Module | None, str]:
    """Return the layer whose weight is computed from a parameter, and the weight's name; None if the parameter is the weight itself."""
    *path, own = parameter.split(".")
    if len(path) >= 2 and path[-2] == PARAMETRIZATIONS and own.removeprefix("original").strip("0123456789") == "":
        return network.get_submodule(".".join(path[:-2])), path[-1]
    layer = network.get_submodule(".".join(path))
    for hook in _hooks(layer):
        if own in (f"{hook.name}_orig", f"{hook.name}_g", f"{hook.name}_v"):
            return layer, hook.name
    return None, own


def _hooks(layer: nn.Module) -> Iterator[Any]:
    return (hook for hook in layer._forward_pre_hooks.values() if isinstance(hook, SpectralNorm | WeightNorm))


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {inner: inner.training for inner in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for inner, mode in modes.items():
            inner.training = mode

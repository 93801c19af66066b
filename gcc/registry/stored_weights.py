"""The weight that a layer computes with, whatever tensors it is stored as.

Under spectral norm, weight norm and other parametrisations, the stored tensor is not the weight, and multiplying it by a number may leave
the layer unchanged. Whatever scores a layer must therefore read its effective weight.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

EFFECTIVE = ":effective"
"""A buffer of this suffix holds the effective weight of a parameter that is a part of a stored weight."""
GRADIENT = ":gradient"
"""A buffer of this suffix holds the gradient by such a weight."""
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


def effective_gradient(network: nn.Module, parameter: str) -> Tensor | None:
    """Return the gradient by the weight that a layer computes with, from the gradients of the tensors that the weight is stored as.

    It is exact under weight norm, and where the weight is a constant multiple of one stored tensor. Under spectral norm, it is exact up to
    the direction that scales the whole layer, of which the stored tensor has no gradient.

    Args:
        network: holds the layer, with gradients in its parameters; without any, the result is zero.
        parameter: name of the stored tensor, such as `Producer.parameter`.

    Returns:
        A tensor of the weight's shape; None if the layer has another parametrisation.
    """
    path, _, own = parameter.rpartition(".")
    buffers = network.get_submodule(path)._buffers
    if own + EFFECTIVE in buffers:
        return buffers.get(own + GRADIENT)
    layer, name = _layer(network, parameter)
    with torch.no_grad():
        stored = stored_parameters(network, parameter)
        gradients = [torch.zeros_like(tensor) if tensor.grad is None else tensor.grad for tensor in stored]
        if layer is None:
            return gradients[0]
        if _has_weight_norm(layer, name):
            return _under_weight_norm(*stored, *gradients)
        return _of_multiple(effective_weight(network, parameter), stored[0], gradients[0]) if len(stored) == 1 else None


def _has_weight_norm(layer: nn.Module, name: str) -> bool:
    hooks = list(_hooks(layer))
    if hooks:
        return isinstance(hooks[0], WeightNorm)
    parametrizations: Any = layer.parametrizations
    steps = list(parametrizations[name])
    return len(steps) == 1 and isinstance(steps[0], _WeightNorm)


def _of_multiple(weight: Tensor, stored: Tensor, d_stored: Tensor) -> Tensor | None:
    """Return the gradient by a weight that is a multiple of a stored tensor; None if it is not."""
    if weight.shape != stored.shape:
        return None
    squares = stored.square().sum()
    factor = (weight * stored).sum() / torch.where(squares == 0, 1, squares)
    if not torch.allclose(weight, factor * stored, rtol=1e-4, atol=float(1e-6 * weight.abs().max())):
        return None
    return d_stored / torch.where(factor == 0, 1, factor)


def _under_weight_norm(gain: Tensor, direction: Tensor, d_gain: Tensor, d_direction: Tensor) -> Tensor:
    """Return the gradient by `gain * direction / |direction|`, from those by `gain` and `direction`."""
    dims = [dim for dim, size in enumerate(gain.shape) if size == 1] if gain.ndim else None
    norm = torch.linalg.vector_norm(direction, dim=dims, keepdim=gain.ndim > 0)
    unit = direction / torch.where(norm == 0, 1, norm)
    # The gradient by the direction lacks the part along it, and is zero where the gain is.
    across = torch.where(gain == 0, 0, d_direction * norm / torch.where(gain == 0, 1, gain))
    return across + d_gain * unit


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

"""Layers whose weight is divided by its norm: spectral norm and weight norm, as parametrisations or by the older hooks.

The part of such a weight that a cut leaves has a different norm. The layer's own tensors, the vectors of the power iteration or the norms
of weight norm, are scaled so that it still computes with the weight that it had. Spectral norm updates its vectors in the next training
pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm, _WeightNorm
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

PARAMETRISED = (_SpectralNorm, _WeightNorm)
HOOKS = (SpectralNorm, WeightNorm)
HOOKED = ("weight_orig", "weight_u", "weight_v", "weight_g")


def reparametrised_layers(network: nn.Module) -> dict[str, list[str]]:
    """Return the names of the tensors that the weight of each such layer is computed from, by the layer's path."""
    layers: dict[str, list[str]] = {}
    for path, module in network.named_modules():
        tensors = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
        if is_parametrized(module, "weight"):
            parametrizations: Any = module.parametrizations
            if any(isinstance(norm, PARAMETRISED) for norm in parametrizations.weight):
                layers[path] = [f"{path}.{name}".lstrip(".") for name in tensors if name.startswith("parametrizations.weight.")]
        elif any(isinstance(hook, HOOKS) for hook in module._forward_pre_hooks.values()):
            layers[path] = [f"{path}.{name}".lstrip(".") for name in HOOKED if name in tensors]
    return layers


def weight_of(module: Any) -> Tensor:
    """Return the weight that a layer computes with in evaluation mode."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, HOOKS):
            hook(module, ())
    weight: Tensor = module.weight
    return weight.detach()


def restore(module: Any, expected: Tensor) -> None:
    """Scale the norm's tensors so that a layer in evaluation mode computes with `expected`, its weight up to the norm's factors."""
    current = weight_of(module)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in tensors.items():
        if name.endswith((".original0", "weight_g")):
            # A single norm of the whole weight is a number without dimensions.
            dims = [dim for dim, size in enumerate(tensor.shape) if size == 1] if tensor.ndim else [*range(expected.ndim)]
            norms = [torch.linalg.vector_norm(weight, dim=dims, keepdim=tensor.ndim > 0) for weight in (expected, current)]
            # Where the weight is zero, its norm becomes zero, and its direction does not matter, but must not be zero.
            is_zero = norms[0] == 0
            tensor.data.copy_(torch.where(is_zero, 0, tensor * norms[0] / norms[1]))
            direction = tensors[name.replace(".original0", ".original1").replace("weight_g", "weight_v")]
            direction.data.copy_(torch.where(is_zero & (direction == 0).all(dims, keepdim=tensor.ndim > 0), 1, direction))
        elif name.endswith(("._u", "weight_u")):
            tensor.mul_((current * current).sum() / (current * expected).sum())
    weight_of(module)

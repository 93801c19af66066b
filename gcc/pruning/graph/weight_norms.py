"""Layers that compute with a weight divided by its norm: spectral norm and weight norm, parametrised or by the older hooks.

What a cut leaves of such a weight has another norm. The layer's own numbers, the vectors of the power iteration or the norms of weight
norm, are scaled so that it goes on computing with the weight that it had. Spectral norm finds its vectors anew in its next training pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

PARAMETRISED = (parametrizations._SpectralNorm, parametrizations._WeightNorm)
HOOKS = (SpectralNorm, WeightNorm)
HOOKED = ("weight_orig", "weight_u", "weight_v", "weight_g")


def normed(network: nn.Module) -> dict[str, list[str]]:
    """Return the layers of a network that are under such a norm, each with the tensors that its weight is computed from."""
    found: dict[str, list[str]] = {}
    for path, module in network.named_modules():
        tensors = [name for name, _ in [*module.named_parameters(), *module.named_buffers()]]
        if is_parametrized(module, "weight"):
            own: Any = module.parametrizations
            if any(isinstance(one, PARAMETRISED) for one in own.weight):
                found[path] = [f"{path}.{name}".lstrip(".") for name in tensors if name.startswith("parametrizations.weight.")]
        elif {"weight_orig", "weight_g"} & set(module._parameters):
            found[path] = [f"{path}.{name}".lstrip(".") for name in HOOKED if name in tensors]
    return found


def weight_of(module: Any) -> Tensor:
    """Return the weight that a layer computes with in evaluation mode."""
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, HOOKS):
            hook(module, ())
    weight: Tensor = module.weight
    return weight.detach()


def restore(module: Any, wanted: Tensor) -> None:
    """Let a layer in evaluation mode compute with `wanted`, which is its weight up to the norm's factors."""
    found = weight_of(module)
    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    for name, tensor in tensors.items():
        if name.endswith((".original0", "weight_g")):
            dims = [dim for dim, size in enumerate(tensor.shape) if size == 1]
            norms = [torch.linalg.vector_norm(weight, dim=dims, keepdim=True) for weight in (wanted, found)]
            tensor.data.mul_(norms[0] / norms[1])
        elif name.endswith(("._u", "weight_u")):
            tensor.mul_((found * found).sum() / (found * wanted).sum())
    weight_of(module)

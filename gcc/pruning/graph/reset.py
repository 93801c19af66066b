"""Fresh weights for a network that is there already."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm

ITERATIONS = 15
"""Of the power method, after which torch takes the vectors of a spectral norm for those of its weight."""


@torch.no_grad()
def reset(network: nn.Module) -> None:
    """Draw the weights of every module anew by its `reset_parameters`; what belongs to a module that has none stays.

    Of a layer under spectral or weight norm, the weight itself is drawn, and the norm's own numbers are found by it. A module comes after
    those that it consists of, whose weights it may draw in a way of its own.
    """
    network.apply(_redraw)


def _redraw(module: nn.Module) -> None:
    if callable(getattr(module, "reset_parameters", None)):
        (_reset_parametrised if is_parametrized(module) else _reset)(module)


def _reset(module: Any) -> None:
    module.reset_parameters()
    # The older hooks of spectral and weight norm keep the weight as a plain tensor, and make it anew in every pass.
    if "weight_orig" in module._parameters:
        module.weight_orig.copy_(module.weight)
        for hook in module._forward_pre_hooks.values():
            if isinstance(hook, SpectralNorm):
                for _ in range(ITERATIONS):
                    module.weight = hook.compute_weight(module, do_power_iteration=True)
    elif "weight_v" in module._parameters:
        module.weight_v.copy_(module.weight)
        module.weight_g.copy_(_norms(module.weight, module.weight_g))


def _reset_parametrised(module: Any) -> None:
    plain: Any = object.__new__(type_before_parametrizations(module))
    drawn = {name: nn.Parameter(getattr(module, name).clone()) for name in module.parametrizations}
    plain.__dict__ = {**module.__dict__, "_parameters": {**module._parameters, **drawn}}
    plain.reset_parameters()
    for name in drawn:
        setattr(module, name, drawn[name].data)
        for one in module.parametrizations[name]:
            if isinstance(one, _SpectralNorm) and drawn[name].ndim > 1:
                one._power_method(one._reshape_weight_to_matrix(drawn[name].data), ITERATIONS)


def _norms(weight: Tensor, norms: Tensor) -> Tensor:
    """Return the norms of a weight's slices, in the shape of `norms`."""
    slices: Tensor = torch.linalg.vector_norm(weight, dim=[dim for dim, size in enumerate(norms.shape) if size == 1], keepdim=True)
    return slices

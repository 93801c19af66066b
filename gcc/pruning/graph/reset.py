"""Draws the weights of an existing network anew."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm

ITERATIONS = 15
"""Iterations of the power method after which torch considers the vectors of a spectral norm to be those of its weight."""


@torch.no_grad()
def reset(network: nn.Module) -> list[str]:
    """Draw the weights of every module anew by its `reset_parameters`, and return the names of the parameters that keep their values.

    A module without that method keeps its own tensors. For a layer under spectral or weight norm, the weight itself is drawn, and the
    norm's own tensors are computed from it. A module comes after its submodules, since it may draw their weights in its own way. A
    parameter whose values are all equal does not count as kept: it has learned nothing that would stay.
    """
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    network.apply(_redraw)
    unchanged = {name: before[name] for name, parameter in network.named_parameters() if torch.equal(before[name], parameter)}
    return [name for name, values in unchanged.items() if values.numel() and values.min() < values.max()]


def matrices(network: nn.Module, names: Iterable[str]) -> list[str]:
    """Return those of some parameters that have more than one dimension larger than 1: weights, not biases or scales of channels."""
    return [name for name in names if sum(size > 1 for size in network.get_parameter(name).shape) > 1]


def owners(network: nn.Module, names: Iterable[str]) -> list[str]:
    """Return the names of the classes of the modules that have these parameters, each once."""
    paths = (name.rpartition(".")[0] for name in names)
    return list(dict.fromkeys(type(network.get_submodule(path)).__name__ for path in paths))


def _redraw(module: nn.Module) -> None:
    if callable(getattr(module, "reset_parameters", None)):
        (_reset_parametrised if is_parametrized(module) else _reset)(module)
    elif isinstance(module, nn.MultiheadAttention):
        module._reset_parameters()  # torch has no public name for it here.


def _reset(module: Any) -> None:
    module.reset_parameters()
    # The older hooks of spectral and weight norm store the weight as a plain tensor and compute it again in every forward pass.
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
        for norm in module.parametrizations[name]:
            if isinstance(norm, _SpectralNorm) and drawn[name].ndim > 1:
                norm._power_method(norm._reshape_weight_to_matrix(drawn[name].data), ITERATIONS)


def _norms(weight: Tensor, norms: Tensor) -> Tensor:
    """Return the norms of a weight's slices in the shape of `norms`."""
    slices: Tensor = torch.linalg.vector_norm(weight, dim=[dim for dim, size in enumerate(norms.shape) if size == 1], keepdim=True)
    return slices

"""The original network with zeros where channels were removed, found by the values that the pruned network kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm, remove_weight_norm
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
from torch.utils._python_dispatch import TorchDispatchMode

from .calls import close, copied, evaluated

TOLERANCE = 1e-3
MIXING = {"mean", "var", "var_mean", "std", "linalg_vector_norm", "native_layer_norm", "native_group_norm", "rms_norm", "_softmax"}
"""Operators whose output for one channel may depend on the number of channels."""
NORMS = (".weight_g", ".original0")
"""Ends of the names of the parameters that are the norms of weight norm."""


def equals_masked(original: nn.Module, pruned: nn.Module, inputs: Sequence[Any]) -> str:
    """Compare a pruned network with the original whose removed channels are zero.

    Every parameter of the pruned network must be a part of the original's: the rows, columns and so on that it kept. The others are set to
    zero. A weight under spectral or weight norm is the one that the original computes. What cannot be compared this way is reported as not
    checked: other names or values of parameters, statistics over channels.
    """
    reference, kept = without_norms(original), dict(pruned.named_parameters())
    weights = dict(reference.named_parameters())
    with torch.no_grad():
        for name, parameter in original.named_parameters():
            if name.endswith(NORMS):
                continue
            if name not in kept:
                return f"not checked: {name} is not in the pruned network"
            positions = kept_positions(parameter, kept[name])
            if positions is None:
                return f"not checked: {name} is not a part of the original's"
            removed = torch.ones_like(parameter, dtype=torch.bool)
            removed[torch.meshgrid(*positions, indexing="ij") if positions else ()] = False
            weights[name if name in weights else computed(name)].masked_fill_(removed, 0)
    outputs, references = evaluated(pruned, inputs), evaluated(reference, inputs)
    if close(outputs, references, TOLERANCE):
        return "yes"
    mixing = operators(original, inputs) & MIXING
    return f"not checked: {', '.join(sorted(mixing))} may combine channels" if mixing else "no: the outputs differ"


def without_norms(network: nn.Module) -> nn.Module:
    """Return a copy in evaluation mode whose weights are those that spectral and weight norm compute."""
    network = copied(network).eval()
    for module in network.modules():
        for hook in [*module._forward_pre_hooks.values()]:
            remove = {"SpectralNorm": remove_spectral_norm, "WeightNorm": remove_weight_norm}.get(type(hook).__name__)
            if remove is not None:
                remove(module)  # type: ignore[operator]
        if is_parametrized(module, "weight"):
            remove_parametrizations(module, "weight")
    return network


def computed(name: str) -> str:
    """Return the name of the weight that torch's norms compute from a parameter.

    >>> computed("up.parametrizations.weight.original1"), computed("up.weight_orig"), computed("up.bias")
    ('up.weight', 'up.weight', 'up.bias')
    """
    return re.sub(r"parametrizations\.weight\.original1?$|weight_(orig|v)$", "weight", name)


class _Operators(TorchDispatchMode):
    """Collects the names of the operators that run."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def operators(network: nn.Module, inputs: Sequence[Any]) -> set[str]:
    """Return the names of the operators that a network runs."""
    with _Operators() as collected:
        evaluated(network, inputs)
    return collected.names


def kept_positions(full: Tensor, part: Tensor) -> list[Tensor] | None:
    """Return, for each dimension, the positions of `full` that `part` consists of; None if there are none, or if they are not unique.

    >>> full = torch.arange(12.0).reshape(3, 4)
    >>> [positions.tolist() for positions in kept_positions(full, full[[0, 2]][:, [1, 3]])]
    [[0, 2], [1, 3]]
    """
    if full.ndim != part.ndim or any(one < other for one, other in zip(full.shape, part.shape, strict=True)) or not part.numel():
        return None
    if full.shape == part.shape:
        return [torch.arange(size) for size in full.shape] if torch.equal(full, part) else None
    if full.ndim == 1:
        # If a value occurs twice, both are kept: the rows and columns that surround the removed one are zero.
        return [torch.isin(full.detach(), part.detach()).nonzero().flatten()] if torch.isin(part, full).all() else None
    values, order = full.detach().flatten().sort()
    found = torch.searchsorted(values, part.detach().flatten().contiguous()).clamp(max=len(values) - 1)
    if not torch.equal(values[found], part.detach().flatten()):
        return None
    indices = torch.unravel_index(order[found], full.shape)
    positions = []
    for dim, index in enumerate(indices):
        # Values that occur twice give a wrong position now and then: the most frequent one of each slice is right.
        slices = index.reshape(part.shape).movedim(dim, 0).reshape(part.shape[dim], -1)
        positions.append(slices.mode(1).values)
    chosen = full.detach()
    for dim, index in enumerate(positions):
        chosen = chosen.index_select(dim, index)
    return positions if torch.equal(chosen, part.detach()) else None

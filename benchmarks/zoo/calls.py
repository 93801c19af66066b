"""Calls of networks that leave them and their inputs as they were."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map_only


def called(network: nn.Module, inputs: Sequence[Any]) -> list[Tensor]:
    """Return the tensors that a network returns for copies of its inputs, with random numbers that are always the same."""
    torch.manual_seed(2)
    outputs = network(*tree_map_only(Tensor, torch.clone, tuple(inputs)))
    return [tensor for tensor in tree_leaves(_plain(outputs)) if isinstance(tensor, Tensor)]


def _plain(outputs: Any) -> Any:
    """Return outputs of a class of their own as a dictionary."""
    return vars(outputs) if hasattr(outputs, "__dict__") and not isinstance(outputs, Tensor | dict | tuple | list) else outputs


def copied(network: nn.Module) -> nn.Module:
    """Return a copy; weights that hooks compute before every pass, which cannot be copied with their history, lose it."""
    for module in network.modules():
        for name, value in vars(module).items():
            if isinstance(value, Tensor) and value.grad_fn is not None:
                vars(module)[name] = value.detach()
    return copy.deepcopy(network)


def evaluated(network: nn.Module, inputs: Sequence[Any]) -> list[Tensor]:
    with torch.no_grad():
        return called(copied(network).eval(), inputs)


def shapes(tensors: Sequence[Tensor]) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in tensors]


def close(tensors: Sequence[Tensor], others: Sequence[Tensor], tolerance: float) -> bool:
    """Tell whether tensors differ by no more than a share of the largest value of each."""
    if shapes(tensors) != shapes(others):
        return False
    return all(
        float((one.double() - other.double()).abs().max()) <= tolerance * max(float(other.double().abs().max()), 1e-30)
        for one, other in zip(tensors, others, strict=True)
        if one.numel()
    )


def other_batch(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Return the inputs with every sample twice."""
    return tree_map_only(Tensor, lambda tensor: torch.cat([tensor, tensor]) if tensor.ndim else tensor, tuple(inputs))


def other_size(inputs: Sequence[Any]) -> tuple[Any, ...]:
    """Return the inputs with images, sequences and volumes twice as long in the last dimension."""
    return tree_map_only(Tensor, lambda tensor: torch.cat([tensor, tensor], -1) if tensor.ndim > 2 else tensor, tuple(inputs))

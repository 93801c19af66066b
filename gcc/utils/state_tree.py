"""Nested state as plain values for JSON and tensors for safetensors, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

TENSOR = "$tensor"
"""Key of the table that replaces a tensor; its value is the tensor's name."""


def flatten_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return nested state with a reference in place of each tensor, and the tensors by name; tuples become lists.

    Args:
        state: mappings with string keys, lists, tuples, tensors, numbers, strings, booleans and None, nested in any way.
    """
    tensors: dict[str, Tensor] = {}
    return _flatten(state, "", tensors), tensors


def unflatten_state(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return the nested state that `flatten_state` took apart.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(plain, dict):
        if plain.keys() == {TENSOR}:
            return tensors[plain[TENSOR]]
        return {name: unflatten_state(value, tensors) for name, value in plain.items()}
    return [unflatten_state(value, tensors) for value in plain] if isinstance(plain, list) else plain


def on_device(state: Any, device: torch.device) -> Any:
    """Return nested state with every tensor on the device. Tensors that are already there are not copied; tuples become lists."""
    plain, tensors = flatten_state(state)
    return unflatten_state(plain, {name: tensor.to(device) for name, tensor in tensors.items()})


def to_safetensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors needs them: on the CPU, contiguous, and copied if they share memory."""
    converted: dict[str, Tensor] = {}
    seen = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        converted[name] = plain.clone() if memory in seen else plain
        seen.add(memory)
    return converted


def _flatten(state: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(state, Tensor):
        tensors[path] = state
        return {TENSOR: path}
    if isinstance(state, Mapping):
        return {name: _flatten(value, f"{path}/{name}", tensors) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return [_flatten(value, f"{path}/{number}", tensors) for number, value in enumerate(state)]
    return state

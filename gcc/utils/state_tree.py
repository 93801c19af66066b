"""Nested state as plain values and tensors, which JSON and safetensors can hold, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

TENSOR = "$tensor"
"""Key of a table that stands for a tensor, by its name."""


def flatten_state(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """Return nested state with a reference in every tensor's place, and the tensors by name; tuples come back as lists.

    Args:
        state: mappings with texts as keys, lists, tuples, tensors, numbers, texts, truth values and None, nested in any way.
    """
    tensors: dict[str, Tensor] = {}
    return _flatten(state, "", tensors), tensors


def unflatten_state(plain: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return what was split.

    Raises:
        KeyError: a tensor is missing.
    """
    if isinstance(plain, dict):
        if plain.keys() == {TENSOR}:
            return tensors[plain[TENSOR]]
        return {name: unflatten_state(value, tensors) for name, value in plain.items()}
    return [unflatten_state(value, tensors) for value in plain] if isinstance(plain, list) else plain


def to_safetensors(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as safetensors takes them: on the CPU, contiguous, and copied where several share their memory."""
    to_safetensors: dict[str, Tensor] = {}
    seen = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        memory = plain.untyped_storage().data_ptr()
        to_safetensors[name] = plain.clone() if memory in seen else plain
        seen.add(memory)
    return to_safetensors


def _flatten(state: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(state, Tensor):
        tensors[place] = state
        return {TENSOR: place}
    if isinstance(state, Mapping):
        return {name: _flatten(value, f"{place}/{name}", tensors) for name, value in state.items()}
    if isinstance(state, list | tuple):
        return [_flatten(value, f"{place}/{number}", tensors) for number, value in enumerate(state)]
    return state

"""Weights that people have: files of tensors by name, from this and other programs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gcc.errors import ArtifactError

PARALLEL = "module."
"""What torch's DataParallel puts before every name."""


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file, or of a state dict saved by torch, of which nothing but tensors is taken.

    Raises:
        ArtifactError: the file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Only tensors and plain containers: nothing that could run.
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # Damaged files raise exceptions of every type.
        raise ArtifactError(f"{path} cannot be read: it is damaged, or holds more than tensors, of which nothing is loaded") from error
    if not (isinstance(state, Mapping) and state and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise ArtifactError(f"{path} is no state dict: expected tensors by name")
    tensors = {str(name): tensor for name, tensor in state.items()}
    wrapped = all(name.startswith(PARALLEL) for name in tensors)
    return {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()} if wrapped else tensors

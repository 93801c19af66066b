"""Weights that people have: files of tensors by name, from this and other programs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gcc.errors import ArtifactError


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file, or of a state dict saved by torch, of which nothing but tensors is taken.

    Raises:
        ArtifactError: the file is missing, damaged, or holds anything else.
    """
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Only tensors and plain containers: nothing that could run.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # Damaged files raise exceptions of every type.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ArtifactError(f"{path} holds no weights that can be read safely: {reason}") from error
    if not (isinstance(state, Mapping) and state and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise ArtifactError(f"{path} is no state dict: expected tensors by name")
    return {str(name): tensor for name, tensor in state.items()}

"""Networks in safetensors files: names, shapes and types are checked before a byte of a tensor is read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gcc.errors import ArtifactError
from gcc.models.modules import on_meta
from gcc.utils.files import replacing
from gcc.utils.memory import free_memory
from gcc.utils.state_tree import to_safetensors

DTYPES = {torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64", torch.bool: "BOOL"}
"""Names of the tensor types in safetensors files."""


def _write_tensors(path: Path, network: nn.Module) -> None:
    tensors = to_safetensors(network.state_dict())
    with replacing(path) as fresh:
        try:
            save_file(tensors, fresh, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def _restored(path: Path, build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that `build` makes with the tensors of a file; no memory is taken before the file is known to fit."""
    tensors = _read_tensors(path, on_meta(build))
    # The weights that a constructor draws are overwritten: the caller's random numbers are left alone.
    with torch.random.fork_rng(devices=[]):
        network = build()
    network.load_state_dict(tensors)
    return network


def _read_tensors(path: Path, expected: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file, whose header must have the names, shapes and types of `expected`, a network on meta."""
    wanted = {name: (list(tensor.shape), tensor.dtype) for name, tensor in expected.state_dict().items()}
    # Not a pipe, which would be waited for.
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: copy the whole folder")
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            for name in sorted(names ^ set(wanted)):
                raise ArtifactError(
                    f"{path} does not fit its config.json: {'lacks' if name in wanted else 'has an unknown'} tensor {name!r}"
                )
            for name, (shape, dtype) in wanted.items():
                given = file.get_slice(name)
                if given.get_shape() != shape:
                    raise ArtifactError(
                        f"{path} does not fit its config.json: {name!r} has the shape {given.get_shape()}, expected {shape}"
                    )
                if given.get_dtype() != DTYPES.get(dtype):
                    raise ArtifactError(f"{path} does not fit its config.json: {name!r} is {given.get_dtype()}, expected {dtype}")
            _require_memory(path, expected)
            tensors = {name: file.get_tensor(name) for name in wanted}
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is damaged or no safetensors file: {error}") from error
    return tensors


def _require_memory(path: Path, network: nn.Module) -> None:
    """Refuse a network, on meta, that memory does not hold beside the tensors of its file, which may be as large as they like on a disk."""
    needs = 2 * sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    free = free_memory(torch.device("cpu"))
    if free is not None and needs > free:
        raise ArtifactError(f"{path} takes {needs / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: load it on a larger machine")

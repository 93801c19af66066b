"""Networks in safetensors files: names, shapes and dtypes are checked before any tensor data is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from gcc.errors import ArtifactError, GccError
from gcc.models.modules import on_meta
from gcc.utils.files import replacing
from gcc.utils.memory import free_memory
from gcc.utils.state_tree import to_safetensors

DTYPES = {
    **{torch.float32: "F32", torch.float64: "F64", torch.float16: "F16", torch.bfloat16: "BF16", torch.complex64: "C64"},
    **{torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL"},
}
"""The names of the dtypes in safetensors files."""


def require_storable(role: str, network: nn.Module) -> None:
    """Refuse a network whose `state_dict` a safetensors file cannot hold.

    Args:
        role: what the network is, for the message.
        network: the network.

    Raises:
        GccError: a value is not a tensor, or has a dtype that these files lack.
    """
    for name, value in network.state_dict().items():
        if not isinstance(value, Tensor):
            raise GccError(
                f"the {role}'s state_dict has {name!r}, {type(value).__name__}: expected tensors alone, since safetensors files hold no "
                "other values; return a tensor from get_extra_state(), or leave the method out"
            )
        if value.dtype not in DTYPES:
            raise GccError(f"{name!r} of the {role} has the dtype {value.dtype}, which safetensors files lack: convert it")


def save_network(path: Path, network: nn.Module) -> None:
    """Write the `state_dict` of a network to a safetensors file.

    Raises:
        OutputError: the file cannot be written.
    """
    tensors = to_safetensors(network.state_dict())
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata={"format": "pt"})
        except SafetensorError as error:
            raise OSError(str(error)) from error


def load_network(path: Path, build: Callable[[], nn.Module]) -> nn.Module:
    """Return the network that `build` creates, with the tensors of a file; no memory is allocated before the file is known to fit.

    Raises:
        ArtifactError: the file is missing or damaged, does not fit the network, or does not fit into memory.
    """
    tensors = _read_tensors(path, on_meta(build))
    # The weights that a constructor draws are overwritten: the caller's random state must not change.
    with torch.random.fork_rng(devices=[]):
        network = build()
    network.load_state_dict(tensors)
    return network


def require_whole(path: Path) -> None:
    """Refuse a file that is missing, damaged or cut off; what network it is for is not known.

    Raises:
        ArtifactError: it is.
    """
    with _opened(path):
        pass


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file, whose header must account for every byte.

    Raises:
        ArtifactError: the file is missing or damaged.
    """
    # Opening a pipe would block.
    if not path.is_file():
        raise ArtifactError(f"{path} is missing: copy the whole folder")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise ArtifactError(f"{path} is damaged or not a safetensors file: {error}") from error


def _read_tensors(path: Path, expected: nn.Module) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; its header must have the names, shapes and dtypes of `expected`, a network on meta."""
    specs = {name: (list(tensor.shape), tensor.dtype) for name, tensor in expected.state_dict().items()}
    with _opened(path) as file:
        for name in sorted(set(file.keys()) ^ set(specs)):
            problem = "lacks" if name in specs else "has an unknown"
            raise ArtifactError(f"{path} does not fit its config.json: {problem} tensor {name!r}")
        for name, (shape, dtype) in specs.items():
            saved = file.get_slice(name)
            if saved.get_shape() != shape:
                raise ArtifactError(f"{path} does not fit its config.json: {name!r} has the shape {saved.get_shape()}, expected {shape}")
            if saved.get_dtype() != DTYPES.get(dtype):
                raise ArtifactError(f"{path} does not fit its config.json: {name!r} is {saved.get_dtype()}, expected {dtype}")
        _require_memory(path, expected)
        return {name: file.get_tensor(name) for name in specs}


def _require_memory(path: Path, network: nn.Module) -> None:
    """Refuse a network, on meta, that does not fit into memory together with the tensors of its file, however large that is."""
    needs = 2 * sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
    free = free_memory(torch.device("cpu"))
    if free is not None and needs > free:
        raise ArtifactError(f"{path} takes {needs / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: load it on a larger machine")

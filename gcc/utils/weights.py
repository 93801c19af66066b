"""Files of trained weights, from this and other programs: tensors by name."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gcc.errors import ArtifactError, GccError, suggestion

PARALLEL = "module."
"""Prefix that torch's DataParallel adds to every name."""
COUNTER = ".num_batches_tracked"


class Weights:
    """Finds the trained weights of networks: in files that the user names, else in torch's cache.

    Args:
        files: the files by the name of their network, such as `vgg19`.

    Attributes:
        asked: names of the networks that were looked up.
    """

    def __init__(self, files: Mapping[str, str | Path] | None = None) -> None:
        self.files = {name: Path(path) for name, path in (files or {}).items()}
        self.asked: set[str] = set()

    def find(self, name: str, cached: str, remedy: str) -> Path:
        """Return the file of a network's weights.

        Args:
            name: the network.
            cached: glob pattern of the file's name in torch's cache.
            remedy: where to get the file, or how to do without it.

        Raises:
            GccError: there is no such file.
        """
        self.asked.add(name)
        if name in self.files:
            return self.files[name]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        matches = sorted(folder.glob(cached))
        if not matches:
            others = sorted(self.files.keys() - self.asked)
            named = f", and --weights gives those of {', '.join(others)}" if others else ""
            raise GccError(
                f"the weights of {name} are needed, and {folder} has none ({cached}){named}: name a file with "
                f"--weights {name}=FILE; {remedy}"
            )
        return matches[-1]

    def require_asked(self) -> None:
        """Refuse files of networks that nothing has looked up.

        Raises:
            GccError: nothing in this run reads one of the named networks.
        """
        for name in sorted(self.files.keys() - self.asked):
            known = f"of that name reads weights{suggestion(name, self.asked)}" if self.asked else "reads weights here"
            raise GccError(f"--weights {name}={self.files[name]}: no network {known}")


def short_sha256(path: Path) -> str:
    """Return the first 12 hex digits of a file's SHA-256, which identify the weights in a protocol."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:12]


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a `.safetensors` file or of a state_dict saved by torch; other objects are refused.

    Raises:
        ArtifactError: the file is missing or damaged, or contains something other than tensors.
    """
    if not path.is_file():
        raise ArtifactError(f"there is no file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # `weights_only` allows tensors and plain containers, and no code.
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # Damaged files raise exceptions of every type.
        raise ArtifactError(
            f"{path} cannot be read: it is damaged, or contains objects other than tensors, which are not loaded for security reasons"
        ) from error
    if not (isinstance(state, Mapping) and state and all(isinstance(tensor, Tensor) for tensor in state.values())):
        raise ArtifactError(f"{path} is not a state_dict: expected tensors by name")
    tensors = {str(name): tensor for name, tensor in state.items()}
    wrapped = all(name.startswith(PARALLEL) for name in tensors)
    return {name.removeprefix(PARALLEL): tensor for name, tensor in tensors.items()} if wrapped else tensors


def matched(path: Path, wanted: Mapping[str, Tensor], what: str, beside: str = "") -> dict[str, Tensor]:
    """Return the tensors of a file that fit a network with the state_dict `wanted`.

    The batch counters of batch norms are left out: old files lack them, and evaluation mode does not read them.

    Args:
        path: as `read_tensors` reads it.
        wanted: the network's tensors by name; only their shapes matter.
        what: the network in messages, such as "vgg19 of torchvision".
        beside: prefix of the names of further tensors that such files may contain.

    Raises:
        ArtifactError: the file cannot be read, or belongs to another network; the message names the first tensor that differs.
    """
    tensors = {name: tensor for name, tensor in read_tensors(path).items() if not name.endswith(COUNTER)}
    names = [name for name in wanted if not name.endswith(COUNTER)]
    for name in names:
        shape = tuple(wanted[name].shape)
        if name not in tensors:
            raise ArtifactError(f"{path} does not match {what}: it lacks {name}, expected of shape {shape}")
        if tensors[name].shape != shape:
            raise ArtifactError(f"{path} does not match {what}: it has {name} of shape {tuple(tensors[name].shape)}, expected {shape}")
    more = sorted(name for name in tensors.keys() - set(names) if not (beside and name.startswith(beside)))
    if more:
        raise ArtifactError(f"{path} does not match {what}: it has {more[0]}")
    return {name: tensors[name] for name in names}

"""Weights that people have: files of tensors by name, from this and other programs."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from hashlib import file_digest
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from gcc.errors import ArtifactError, GccError, near

PARALLEL = "module."
"""What torch's DataParallel puts before every name."""
COUNTER = ".num_batches_tracked"


class Weights:
    """Where the trained weights of networks are found: in files that the user names, else in torch's cache.

    Args:
        files: by the network's name, such as `vgg19`.
    """

    def __init__(self, files: Mapping[str, str | Path] | None = None) -> None:
        self.files = {name: Path(path) for name, path in (files or {}).items()}
        self.asked: set[str] = set()

    def find(self, name: str, cached: str, remedy: str) -> Path:
        """Return the file of a network's weights.

        Args:
            name: the network's.
            cached: pattern of the file's name in torch's cache.
            remedy: where people get the file, or how they do without.

        Raises:
            GccError: there is none.
        """
        self.asked.add(name)
        if name in self.files:
            return self.files[name]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        found = sorted(folder.glob(cached))
        if not found:
            others = sorted(self.files.keys() - self.asked)
            given = f", and --weights gives those of {', '.join(others)}" if others else ""
            raise GccError(
                f"the weights of {name} are needed, and {folder} has none ({cached}){given}: name a file with "
                f"--weights {name}=FILE; {remedy}"
            )
        return found[-1]

    def require_asked(self) -> None:
        """Refuse files that nothing has asked for.

        Raises:
            GccError: a named network is read by nothing in this run.
        """
        for name in sorted(self.files.keys() - self.asked):
            known = near(name, self.asked) if self.asked else ", or any others"
            raise GccError(f"--weights {name}={self.files[name]}: nothing here reads weights of that name{known}")


def digest(path: Path) -> str:
    """Return the first digits of a file's SHA-256, which name its weights in a protocol."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()[:12]


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


def matched(path: Path, wanted: Mapping[str, Tensor], what: str, beside: str = "") -> dict[str, Tensor]:
    """Return the tensors of a file that fill a network whose state dict is `wanted`.

    The counters of batch norms, which old files lack and which no evaluation reads, are left out.

    Args:
        path: as `read_tensors` reads it.
        wanted: the network's own tensors by name, of which only the shapes matter.
        what: the network, for the message, such as "vgg19 of torchvision".
        beside: what the names of further tensors begin with that such files hold.

    Raises:
        ArtifactError: the file cannot be read, or is no such network's; the message names the first tensor that differs.
    """
    tensors = {name: tensor for name, tensor in read_tensors(path).items() if not name.endswith(COUNTER)}
    names = [name for name in wanted if not name.endswith(COUNTER)]
    for name in names:
        shape = tuple(wanted[name].shape)
        if name not in tensors:
            raise ArtifactError(f"{path} is no {what}: it lacks {name}, expected of shape {shape}")
        if tensors[name].shape != shape:
            raise ArtifactError(f"{path} is no {what}: it has {name} of shape {tuple(tensors[name].shape)}, expected {shape}")
    more = sorted(name for name in tensors.keys() - set(names) if not (beside and name.startswith(beside)))
    if more:
        raise ArtifactError(f"{path} is no {what}: it has {more[0]}")
    return {name: tensors[name] for name in names}

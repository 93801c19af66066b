"""A generator on disk: `model.safetensors`, `config.json` and `README.md` (its model card) in one folder.

A family of several generators has one such folder per generator below the folder of its side; a teacher's side also has
`discriminators.safetensors`. Reading trusts nothing: every field is checked, the tensors' names, shapes and types are compared with the
architecture before a byte of them is read, no path is taken from a file, and nothing is unpickled.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcc.artifacts.config import CONFIG, Artifact, Role, _read_config
from gcc.artifacts.hub import Address, fetch, is_address
from gcc.artifacts.tensors import _restored, _write_tensors
from gcc.errors import ArtifactError
from gcc.registry import Architecture
from gcc.utils.files import write_text

DISCRIMINATORS = "discriminators.safetensors"
SHARED = (CONFIG, "model.safetensors", DISCRIMINATORS, "README.md", "samples.png")
"""What people share of a side, and nothing else."""


def load(folder: str | Path) -> nn.Module:
    """Return the generator saved in `folder`, in eval mode on the CPU, bit-equal to the one that was saved.

    Args:
        folder: a folder with `model.safetensors` and `config.json`, such as `runs/pix2pix/student`; or `hf://user/name`, with `@revision`
            where it matters, on the Hugging Face Hub.

    Raises:
        ArtifactError: the folder is missing, damaged, foreign, or holds several generators.
        PluginError: the architecture is not installed.
    """
    return only(read(Path(folder))).network()


def only(artifacts: Mapping[str, Artifact]) -> Artifact:
    """Return the one generator of a folder.

    Raises:
        ArtifactError: there are several.
    """
    if len(artifacts) > 1:
        folder = next(iter(artifacts.values())).folder.parent
        raise ArtifactError(f"{folder} holds the generators {', '.join(artifacts)}: name one, such as {folder / next(iter(artifacts))}")
    return next(iter(artifacts.values()))


def located(place: str | Path) -> Path:
    """Return the folder of a saved generator or side; what is on the Hub is fetched, once its configuration is known to be one of ours.

    Args:
        place: a folder, or an address such as `hf://user/name`.

    Raises:
        GccError: what fetches from the Hub is not installed.
        ArtifactError: nothing of ours is there.
    """
    if not is_address(place):
        return Path(place)
    address = Address.parse(str(place))
    folder = fetch(address, [CONFIG]) / address.folder
    configs = [folder / CONFIG] if (folder / CONFIG).is_file() else sorted(folder.glob(f"*/{CONFIG}"))
    if not configs:
        raise ArtifactError(f"{address} holds no {CONFIG} of a saved model: expected what gcc push has put there")
    for config in configs:
        _read_config(config.parent)
    return fetch(address, SHARED) / address.folder


def read(folder: Path, role: Role | None = None) -> dict[str, Artifact]:
    """Return what is saved in `folder`, by generator; weights are not read yet.

    Args:
        folder: of one generator, or of one side with a folder per generator, here or on the Hugging Face Hub.
        role: what it must be; none accepts both.

    Raises:
        ArtifactError: nothing is saved there, or what is saved is damaged, foreign or of another role.
        PluginError: the architecture is not installed.
    """
    folder = located(folder)
    if not folder.is_dir():
        raise ArtifactError(f"{folder} is no folder: expected one with config.json and model.safetensors, such as runs/pix2pix/student")
    folders = [folder] if (folder / CONFIG).is_file() else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))
    sides = [folder / side for side in ("student", "teacher") if (folder / side).is_dir()]
    if not folders or sides:
        hint = f": give {' or '.join(map(str, sides))}" if sides else ""
        raise ArtifactError(f"{folder} holds no config.json of a saved model{hint}")
    artifacts = [_read_config(path) for path in folders]
    for artifact in artifacts:
        if role is not None and artifact.role != role:
            raise ArtifactError(f"{artifact.folder} holds a {artifact.role}: expected a {role}")
    first = artifacts[0]
    for artifact in artifacts[1:]:
        if (artifact.role, artifact.arch, artifact.recipe) != (first.role, first.arch, first.recipe):
            one, other = first.recipe.to_dict(), artifact.recipe.to_dict()
            differing = ", ".join(name for name in one if one[name] != other.get(name)) or "role or architecture"
            raise ArtifactError(f"{first.folder} and {artifact.folder} differ in {differing}: expected the generators of one run")
    found = {artifact.generator: artifact for artifact in artifacts}
    if len(found) < len(artifacts):
        raise ArtifactError(f"{folder} holds a generator twice: expected a folder for each of {', '.join(found)}")
    return found


def environment(device: torch.device) -> dict[str, str]:
    """Return the versions and the device that a run depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "gan-gcc": version("gan-gcc"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name})",
    }


def fill(network: nn.Module, saved: nn.Module, folder: Path) -> None:
    """Put the weights of a network that is saved in `folder` into one of the same shape.

    Raises:
        ArtifactError: the networks are of different shapes.
    """
    given, wanted = saved.state_dict(), network.state_dict()
    for name in (*wanted, *given):
        theirs, ours = (tuple(tensors[name].shape) if name in tensors else "missing" for tensors in (given, wanted))
        if theirs != ours:
            raise ArtifactError(f"the teacher in {folder} does not fit this run's recipe: its {name} is {theirs}, expected {ours}")
    network.load_state_dict(given)


def read_discriminators(folder: Path, architecture: Architecture[Any]) -> dict[str, nn.Module]:
    """Return the discriminators by name that are saved in the folder of a teacher's side; none where there are none.

    Raises:
        ArtifactError: `discriminators.safetensors` is damaged or does not fit the architecture.
    """

    def build() -> nn.ModuleDict:
        return nn.ModuleDict({name: architecture.build_discriminator() for name in architecture.discriminators})

    return dict(_restored(folder / DISCRIMINATORS, build).named_children()) if has_discriminators(folder) else {}


def has_discriminators(folder: Path) -> bool:
    """Return whether the folder of a teacher's side holds discriminators."""
    return (folder / DISCRIMINATORS).exists()


def save_discriminators(folder: Path, discriminators: Mapping[str, nn.Module]) -> None:
    """Write a teacher's discriminators to the folder of its side.

    Raises:
        OutputError: the folder cannot be written.
    """
    _write_tensors(folder / DISCRIMINATORS, nn.ModuleDict(discriminators))


def save(artifact: Artifact, network: nn.Module, card: str) -> None:
    """Write a generator to `artifact.folder`; every file is written atomically, the configuration last.

    Args:
        artifact: what `config.json` is to say.
        network: the generator.
        card: the text of `README.md`.

    Raises:
        OutputError: the folder cannot be written.
    """
    _write_tensors(artifact.folder / "model.safetensors", network)
    write_text(artifact.folder / "README.md", card)
    write_text(artifact.folder / CONFIG, artifact.to_json())

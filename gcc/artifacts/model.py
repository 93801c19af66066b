"""Saved generators: `model.safetensors`, `config.json` and `README.md` (the model card) in one folder.

If a family has several generators, the folder of a student or a teacher has one such folder per generator; a teacher's folder also has
`discriminators.safetensors`. Files are treated as untrusted input. Every field is validated. The tensors' names, shapes and dtypes are
compared with the architecture before any tensor data is read. No path is taken from a file, and nothing is unpickled.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import replace
from glob import escape
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcc.artifacts.card import CARD, GRID
from gcc.artifacts.config import CONFIG, WEIGHTS, Artifact, Factory, Role, describes_generator, read_config
from gcc.artifacts.fingerprint import fingerprint
from gcc.artifacts.hub import Address, fetch, is_address
from gcc.artifacts.run_folder import COMMAND_FILE, RECIPE_FILE, STUDENT, TEACHER, choice_of_runs, continuation, runs_in
from gcc.artifacts.tensors import load_network, save_network
from gcc.errors import ArtifactError
from gcc.registry import Architecture
from gcc.utils.arguments import checked_arguments
from gcc.utils.files import write_text
from gcc.utils.weights import matching

DISCRIMINATORS = "discriminators.safetensors"
WEIGHT_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
SHARED = (CONFIG, WEIGHTS, DISCRIMINATORS, CARD, GRID)
"""The files of a student or a teacher that are shared on the Hub; no others are."""


@checked_arguments
def load(folder: str | Path, factory: Factory | None = None) -> nn.Module:
    """Return the generator saved in `folder`, in eval mode on the CPU, bit-equal to the one that was saved.

    Args:
        folder: a folder with `model.safetensors` and `config.json`, such as `runs/pix2pix/student`; or `hf://user/name` or
            `hf://user/name@revision` on the Hugging Face Hub.
        factory: returns the full generator, such as its class, if the generator is your own. Nothing that a file names is imported.

    Raises:
        ArtifactError: the folder is missing or damaged, was not written by this library, or contains several generators.
        PluginError: the architecture is not installed.
    """
    return single_generator(read(Path(folder), factory=factory)).network()


def single_generator(artifacts: Mapping[str, Artifact]) -> Artifact:
    """Return the only generator of a folder.

    Raises:
        ArtifactError: the folder has several generators.
    """
    if len(artifacts) > 1:
        folder = next(iter(artifacts.values())).folder.parent
        raise ArtifactError(f"{folder} contains the generators {', '.join(artifacts)}: name one, such as {folder / next(iter(artifacts))}")
    return next(iter(artifacts.values()))


def resolve_location(location: str | Path, role: Role | None = None) -> Path:
    """Return the local folder of saved generators; files on the Hub are downloaded after their `config.json` is validated.

    A run's folder means its student, or its teacher if it has no student or `role` says so. A sweep's folder means its teacher, if `role`
    says so.

    Args:
        location: a folder, or an address such as `hf://user/name`.
        role: the expected role; None accepts both.

    Raises:
        GccError: `huggingface_hub` is not installed.
        ArtifactError: the address does not exist, cannot be reached, or has no saved generator, or the folder contains several runs or
            cannot be read.
    """
    if not is_address(location):
        try:
            return _local_folder(Path(location), role)
        except OSError as error:
            raise ArtifactError(f"cannot read {location}: {error.strerror}; expected the folder of a saved generator") from error
    address = Address.parse(str(location))
    repository = fetch(address, [CONFIG, f"*/{CONFIG}"])
    folder = repository / address.folder
    folders = _generator_folders(folder)
    if not folders:
        raise ArtifactError(f"{address} contains no {CONFIG} of a saved model: expected a repository that gcc push has uploaded")
    for path in folders:
        read_config(path)
    shared = [path.relative_to(repository) / name for path in dict.fromkeys((folder, *folders)) for name in SHARED]
    return fetch(address, [escape(path.as_posix()) for path in shared]) / address.folder


def _local_folder(folder: Path, role: Role | None) -> Path:
    """Return the folder of saved generators that a local folder means; see `resolve_location`."""
    if (folder / CONFIG).is_file():
        return folder
    if runs := runs_in(folder):
        if role == TEACHER and folder / TEACHER in runs:
            return folder / TEACHER / TEACHER
        raise ArtifactError(choice_of_runs(folder, runs))
    names = (STUDENT, TEACHER) if role is None else (role,)
    return next((path for name in names if (path := folder / name).is_dir()), folder)


def shared_files(folder: Path) -> list[Path]:
    """Return the files of a local student or teacher that are shared on the Hub, as paths inside its folder."""
    candidates = (path / name for path in dict.fromkeys((folder, *_generator_folders(folder))) for name in SHARED)
    return [path.relative_to(folder) for path in candidates if path.is_file()]


def default_output(subject: Path, suffix: str) -> Path:
    """Return a path next to a generator's folder, with its name and a suffix; for an address on the Hub, in the current folder.

    >>> default_output(Path("/runs/pix2pix/student"), ".onnx")
    PosixPath('/runs/pix2pix/student.onnx')
    >>> default_output(Path("hf://user/name"), ".onnx") == Path.cwd() / "name.onnx"
    True
    """
    folder = (Path(subject.name) if is_address(subject) else resolve_location(subject)).resolve()
    return folder.with_name(folder.name + suffix)


def holds_saved_generators(folder: Path) -> bool:
    """Return whether a local folder, or a folder anywhere below it, has the configuration of a saved generator."""
    return any(describes_generator(path) for path in folder.glob(f"**/{CONFIG}"))


def _generator_folders(folder: Path) -> list[Path]:
    """Return the folders of the generators of a student or a teacher: its own, or those directly below."""
    return [folder] if (folder / CONFIG).is_file() else sorted(path.parent for path in folder.glob(f"*/{CONFIG}"))


def read(folder: Path, role: Role | None = None, factory: Factory | None = None) -> dict[str, Artifact]:
    """Return the generators saved in `folder` by name; their weights are not read yet.

    Args:
        folder: the folder of one generator, of a student or a teacher with a folder per generator, or of a run, which means its student;
            local or on the Hugging Face Hub.
        role: the expected role; None accepts both.
        factory: makes the full generator if a user brought it; see `load`.

    Raises:
        ArtifactError: no generator is saved there, or it is damaged, of another library or of another role.
        PluginError: the architecture is not installed.
    """
    folder = resolve_location(folder, role)
    if folder.is_file() and folder.suffix in WEIGHT_SUFFIXES:
        raise ArtifactError(
            f"{folder} is a file: expected the folder of a saved generator; `gcc import --arch NAME {folder} TEACHER` makes one of the "
            "weights of a family, and `gcc prune` and `gcc compress` make one of those of restoration networks and of your own code"
        )
    if not folder.is_dir():
        if go_on := continuation(folder.parent):
            raise ArtifactError(f"{folder} is not there yet, since the run in {folder.parent} has not finished: {go_on}")
        raise ArtifactError(f"{folder} is not a folder: expected one with config.json and model.safetensors, such as runs/pix2pix/student")
    folders = _generator_folders(folder)
    if any((folder / mark).is_file() for mark in (RECIPE_FILE, COMMAND_FILE)):
        remedy = continuation(folder) or "expected a finished run that has one"
        raise ArtifactError(f"the run in {folder} has saved no {role or 'generator'}: {remedy}")
    if not folders:
        raise ArtifactError(f"{folder} contains no config.json of a saved model")
    artifacts = [read_config(path, factory) for path in folders]
    for artifact in artifacts:
        if role is not None and artifact.role != role:
            raise ArtifactError(
                f"{artifact.folder} contains a {artifact.role}: expected a {role}; give this {artifact.role} as `{artifact.role}`"
            )
    first = artifacts[0]
    for artifact in artifacts[1:]:
        if (artifact.role, artifact.arch, artifact.recipe) != (first.role, first.arch, first.recipe):
            expected, actual = first.recipe.to_dict(), artifact.recipe.to_dict()
            differing = ", ".join(name for name in expected if expected[name] != actual.get(name)) or "role or architecture"
            raise ArtifactError(f"{first.folder} and {artifact.folder} differ in {differing}: expected the generators of one run")
    by_name = {artifact.generator: artifact for artifact in artifacts}
    if len(by_name) < len(artifacts):
        raise ArtifactError(f"{folder} contains a generator twice: expected a folder for each of {', '.join(by_name)}")
    return by_name


def environment(device: torch.device) -> dict[str, str]:
    """Return the versions and the device that a run depends on."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "gan-gcc": version("gan-gcc"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "device": f"{device.type} ({name})",
    }


def load_matching_weights(network: nn.Module, saved: nn.Module, folder: Path, role: Role) -> None:
    """Load the weights of a teacher's or a student's network, which is saved in `folder`, into a network of the same shapes.

    Raises:
        ArtifactError: the shapes differ.
    """
    network.load_state_dict(matching(f"the {role} in {folder}", saved.state_dict(), network.state_dict(), "this run's recipe"))


def read_discriminators(folder: Path, architecture: Architecture[Any]) -> dict[str, nn.Module]:
    """Return the discriminators saved in a teacher's folder by name; an empty dict if it has none.

    Raises:
        ArtifactError: `discriminators.safetensors` is damaged or does not fit the architecture.
    """

    def build() -> nn.ModuleDict:
        return nn.ModuleDict({name: architecture.for_network(name).build_discriminator() for name in architecture.discriminators})

    return dict(load_network(folder / DISCRIMINATORS, build).named_children()) if has_discriminators(folder) else {}


def has_discriminators(folder: Path) -> bool:
    """Return whether a teacher's folder has discriminators."""
    return (folder / DISCRIMINATORS).exists()


def save_discriminators(folder: Path, discriminators: Mapping[str, nn.Module]) -> None:
    """Write a teacher's discriminators to its folder.

    Raises:
        OutputError: the folder cannot be written.
    """
    save_network(folder / DISCRIMINATORS, nn.ModuleDict(discriminators))


def save(artifact: Artifact, network: nn.Module, card: str) -> None:
    """Write a generator to `artifact.folder`; every file is written atomically, the configuration last.

    Args:
        artifact: the content of `config.json`.
        network: the generator.
        card: the text of the model card.

    Raises:
        OutputError: the folder cannot be written.
    """
    if artifact.needs_factory:
        artifact = replace(artifact, fingerprint=fingerprint(network, artifact.example_input().shape))
    save_network(artifact.folder / WEIGHTS, network)
    write_text(artifact.folder / CARD, card)
    write_text(artifact.folder / CONFIG, artifact.to_json())

"""Push saved generators to the Hugging Face Hub, and pull them from it."""

from __future__ import annotations

import shutil
from pathlib import Path

from gcc.artifacts.config import WEIGHTS, Artifact
from gcc.artifacts.hub import Address, is_address, upload
from gcc.artifacts.model import read, resolve_location, shared_files
from gcc.artifacts.tensors import require_whole
from gcc.errors import ArtifactError
from gcc.utils.files import replacing, require_empty


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Upload a student or a teacher to the Hub, and return its URL; other files in its folder are not uploaded.

    Args:
        folder: the folder of the student or the teacher, such as `runs/pix2pix/student`; a run's folder means its student.
        repository: such as `user/name`; created if it does not exist.
        private: whether a new repository is visible to its owner only.

    Raises:
        GccError: the folder contains no valid generator, `huggingface_hub` is not installed, or the Hub refuses.
    """
    if is_address(folder):
        raise ArtifactError(f"{folder} is on the Hub already: expected a local folder, such as runs/pix2pix/student")
    folder = resolve_location(folder)
    for artifact in read(folder).values():
        _require_whole(artifact)
    return upload(folder, shared_files(folder), repository, private=private)


def _require_whole(artifact: Artifact) -> None:
    """Refuse damaged weights. Those of a user's own code are read without it.

    Raises:
        ArtifactError: the weights cannot be read, or do not fit the architecture.
    """
    if artifact.needs_factory:
        require_whole(artifact.folder / WEIGHTS)
    else:
        artifact.network()


def pull(name: str, out: Path | None) -> Path:
    """Copy a student or a teacher from the Hub to a folder, and return the folder.

    Args:
        name: `user/name` or `user/name@revision`.
        out: the folder, which must be empty or not exist; None for a folder with the repository's name.

    Raises:
        GccError: the generator does not exist, `huggingface_hub` is not installed, or the folder is not empty.
    """
    address = Address.parse(name if is_address(name) else f"hf://{name}")
    folder = out or Path(address.folder or address.repository.rpartition("/")[2])
    require_empty(folder)
    source = resolve_location(str(address))
    for file in shared_files(source):
        with replacing(folder / file) as temporary:
            shutil.copyfile(source / file, temporary)
    return folder

"""Saved generators to the Hugging Face Hub and back."""

from __future__ import annotations

import shutil
from pathlib import Path

from gcc.artifacts.hub import Address, is_address, upload
from gcc.artifacts.model import SHARED, located, read
from gcc.errors import ArtifactError
from gcc.utils.files import replacing, require_empty


def push(folder: Path, repository: str, *, private: bool) -> str:
    """Put a student or a teacher on the Hub, and return its address in a browser; what else lies beside it stays here.

    Args:
        folder: of the side, such as `runs/pix2pix/student`.
        repository: such as `user/name`; made where there is none.
        private: whether a new repository is seen by its owner alone.

    Raises:
        GccError: the folder holds no sound generator, `huggingface_hub` is not installed, or the Hub refuses.
    """
    if is_address(folder):
        raise ArtifactError(f"{folder} is on the Hub already: expected a folder here, such as runs/pix2pix/student")
    for artifact in read(folder).values():
        artifact.network()  # Damaged weights are not for others.
    return upload(folder, SHARED, repository, private=private)


def pull(name: str, out: Path | None) -> Path:
    """Copy a student or a teacher from the Hub to a folder, and return that.

    Args:
        name: `user/name`, with `@revision` where it matters.
        out: the folder, which must not hold anything yet; none for one of the repository's name.

    Raises:
        GccError: there is no such generator, `huggingface_hub` is not installed, or the folder is taken.
    """
    address = Address.parse(name if is_address(name) else f"hf://{name}")
    folder = out or Path(address.folder or address.repository.rpartition("/")[2])
    require_empty(folder)
    source = located(str(address))
    for path in sorted(path for shared in SHARED for path in source.glob(f"**/{shared}")):
        with replacing(folder / path.relative_to(source)) as fresh:
            shutil.copyfile(path, fresh)
    return folder

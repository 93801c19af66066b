"""Checks of a data folder, and a description of its contents for messages."""

from __future__ import annotations

from pathlib import Path

from gcc.data.images import entries, image_files
from gcc.errors import DataError

SHOWN = 6
"""Entries that a description lists."""


def require_folder(root: Path | None) -> Path:
    """Return `root`, a folder that is not empty.

    Raises:
        DataError: `root` is None, missing, a file, empty, or cannot be listed.
    """
    if root is None:
        raise DataError("this dataset reads a folder, and none was given")
    if not root.exists():
        raise DataError(f"there is no folder {root}")
    if not root.is_dir():
        raise DataError(f"{root} is a file: expected the folder that holds the data")
    if not entries(root):
        raise DataError(f"the folder {root} is empty")
    return root


def describe_contents(root: Path) -> str:
    """Return the contents of `root` as text, such as `train/ (400 images), notes.txt`."""
    described = [_entry(path) for path in entries(root)]
    more = [f"and {len(described) - SHOWN} more"] if len(described) > SHOWN else []
    return ", ".join(described[:SHOWN] + more)


def _entry(path: Path) -> str:
    if not path.is_dir():
        return path.name
    images, folders = len(image_files(path)), [child.name + "/" for child in entries(path) if child.is_dir()]
    if not images and folders:
        return f"{path.name}/ (with {', '.join(folders[:3])}{', ..' if len(folders) > 3 else ''})"
    return f"{path.name}/ ({images or 'no'} image{'' if images == 1 else 's'})"

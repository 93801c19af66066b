"""What a data folder must be before anyone looks for a layout in it."""

from __future__ import annotations

from pathlib import Path

from gcc.data.images import entries, image_files
from gcc.errors import DataError

SHOWN = 6


def require_folder(root: Path | None) -> Path:
    """Return `root`.

    Raises:
        DataError: it is none, missing, no folder, empty, or cannot be listed.
    """
    if root is None:
        raise DataError("this data set reads a folder, and none was given")
    if not root.exists():
        raise DataError(f"there is no folder {root}")
    if not root.is_dir():
        raise DataError(f"{root} is a file: expected the folder that holds the data")
    if not entries(root):
        raise DataError(f"the folder {root} is empty")
    return root


def found(root: Path) -> str:
    """Return in words what `root` holds, such as `train/ (400 images), notes.txt`."""
    shown = [_entry(path) for path in entries(root)]
    more = [f"and {len(shown) - SHOWN} more"] if len(shown) > SHOWN else []
    return ", ".join(shown[:SHOWN] + more)


def _entry(path: Path) -> str:
    if not path.is_dir():
        return path.name
    images, inside = len(image_files(path)), [child.name + "/" for child in entries(path) if child.is_dir()]
    if not images and inside:
        return f"{path.name}/ (with {', '.join(inside[:3])}{', ..' if len(inside) > 3 else ''})"
    return f"{path.name}/ ({images or 'no'} image{'' if images == 1 else 's'})"

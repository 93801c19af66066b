"""Checks of a data folder, and a description of its contents for messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence, Set
from itertools import chain
from pathlib import Path

from gcc.data.images import ARRAY_SUFFIX, OTHER_SUFFIXES, SUFFIXES, entries, files_below, image_files, images_below
from gcc.errors import DataError, abridged
from gcc.utils.units import counted

READ = f"files with the suffixes {', '.join(sorted(SUFFIXES))}, or where there are none from {ARRAY_SUFFIX}"
"""Which files are images, for messages."""
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
    return abridged([_entry(path) for path in entries(root)], SHOWN)


def describe_lack(folder: Path) -> str:
    """Return which files a folder without images has, in its subfolders too, and which suffixes are read."""
    others = _suffixes(files_below(folder))
    return f"{f'its files are {others}; ' if others else ''}images are read from {READ}"


def describe_unread(folders: Iterable[Path], images: Collection[Path], leave_out: Collection[Path] = ()) -> list[str]:
    """Return texts about images in folders and their subfolders that are not read; an empty list if there are none.

    These have a format that is not read, or are NumPy files where pictures are read.

    Args:
        folders: the folders.
        images: the images that are read.
        leave_out: resolved paths of folders that are not entered.
    """
    below = [files_below(folder, leave_out) for folder in folders]
    unread = [path for path in sorted(set(chain(*below))) if path.suffix.lower() in OTHER_SUFFIXES]
    texts = [f"other formats are not read ({_suffixes(unread)}): save these files as PNG to use them"] if unread else []
    return [*texts, *_describe_hidden_arrays(below, set(images))]


def describe_other_folders(root: Path, folders: Collection[Path]) -> list[str]:
    """Return a text about the images below `root` that lie in other folders than those that are read; an empty list if there are none."""
    counts = Counter(path.parent for path in images_below(root) if path.parent not in folders)
    others = [f"{folder.relative_to(root)}/ ({_images(count)})" for folder, count in counts.items()]
    return (
        [f"no split of this layout reads {_first(others)}: for training, validation or test, rename or move the folder"] if others else []
    )


def _describe_hidden_arrays(folders: Iterable[Sequence[Path]], images: Set[Path]) -> list[str]:
    """Return a text about NumPy files of folders where pictures are read instead; an empty list if there are none."""
    instead: dict[Path, Path] = {}
    for files in folders:
        pictures = [path for path in files if path in images and path.suffix.lower() != ARRAY_SUFFIX]
        arrays = [path for path in files if path not in images and path.suffix.lower() == ARRAY_SUFFIX]
        if pictures:
            instead |= dict.fromkeys(arrays, pictures[0])
    if not instead:
        return []
    count, picture = counted(len(instead), "NumPy file"), min(instead.values())
    return [f"NumPy files are not read beside other images ({count}, beside {picture.name}): move the other images to use them"]


def _entry(path: Path) -> str:
    if not path.is_dir():
        return path.name
    images, folders = len(image_files(path)), [child.name + "/" for child in entries(path) if child.is_dir()]
    if images:
        return f"{path.name}/ ({_images(images)})"
    below, others = len(images_below(path)), _suffixes(files_below(path))
    described = f"with {_first(folders)}" if folders else "no images"
    described += f", which hold {_images(below)}" if below else f", but {others}" if others else ""
    return f"{path.name}/ ({described})"


def _suffixes(files: Sequence[Path]) -> str:
    counts = Counter(path.suffix.lower() or "without suffix" for path in files)
    return _first([f"{count} {suffix}" for suffix, count in counts.most_common()])


def _images(count: int) -> str:
    return f"{count or 'no'} image{'' if count == 1 else 's'}"


def _first(names: Sequence[str]) -> str:
    return f"{', '.join(names[:3])}{', ..' if len(names) > 3 else ''}"

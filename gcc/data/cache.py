"""Images that are decoded once: their pixels lie in one file beside the data, which is mapped into memory.

The file is a line of JSON (heights and widths of the images; names, sizes and dates of the files that they come from), the pixels as 8-bit
RGB, and the CRC-32 of both.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcc.errors import DataError, OutputError
from gcc.utils.files import explained, replacing

PREFIX, SUFFIX = "decoded-", ".rgb"
SUM = 4
"""Bytes of the checksum at the end."""
PIECE = 1 << 24
"""Bytes that are summed at once."""
AHEAD = 64
"""Entries that are decoded side by side before they are written."""

Sizes = list[tuple[int, int]]
"""Height and width of each image of an entry."""
Images = Image.Image | tuple[Image.Image, ...]
"""What an entry holds."""


class Decoded:
    """The images of a whole file that `keep` wrote; another process maps it anew, by its path.

    Args:
        path: of the file.
        entries: what the images belong to, in the order in which they were written.

    Attributes:
        size: of the file in bytes.
    """

    def __init__(self, path: Path, entries: Iterable[Any]) -> None:
        self.path = path
        self.size = path.stat().st_size
        with path.open("rb") as file:
            header = file.readline()
        start = len(header)
        self._places: dict[Any, list[tuple[int, int, int]]] = {}
        for entry, sizes in zip(entries, json.loads(header)["images"], strict=True):
            self._places[entry] = []
            for height, width in sizes:
                self._places[entry].append((start, height, width))
                start += height * width * 3

    def read(self, entry: Any) -> Images:
        """Return what an entry holds.

        Raises:
            DataError: the file is gone, or another one is in its place.
        """
        images = tuple(self._image(*place) for place in self._places[entry])
        return images if len(images) > 1 else images[0]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_bytes"}

    def _image(self, start: int, height: int, width: int) -> Image.Image:
        return Image.fromarray(self._bytes[start : start + height * width * 3].reshape(height, width, 3))

    @cached_property
    def _bytes(self) -> np.ndarray:
        try:
            mapped = np.memmap(self.path, np.uint8, "r")
        except (OSError, ValueError) as error:
            raise DataError(f"cannot read the decoded images {self.path}: {error}; start again") from error
        if mapped.size != self.size:
            raise DataError(f"the decoded images {self.path} have changed: start again")
        # As a plain array, whose parts are made faster.
        return mapped.view(np.ndarray)


def keep(path: Path, entries: Sequence[Any], files: Iterable[Path], read: Callable[[Any], Images]) -> None:
    """Write what `read` returns of each entry, an RGB image or a tuple of several; `files` are what it reads, beside the folder of `path`.

    Raises:
        DataError: an image cannot be read, is not RGB, or has changed meanwhile.
        OutputError: there is no room for the file, or it cannot be written.
    """
    with ThreadPoolExecutor() as pool:
        # Decoded for their sizes alone: what finds no room is refused before anything is written.
        sizes = list(pool.map(lambda entry: _sizes(read(entry)), entries))
        header = json.dumps({"images": sizes, "files": [_status(file, path.parent.parent) for file in files]}).encode() + b"\n"
        needs = len(header) + 3 * sum(height * width for images in sizes for height, width in images) + SUM
        try:
            _require_room(path.parent, needs)
            with replacing(path) as fresh, fresh.open("wb") as out:
                total = 0
                for piece in chain([header], _pixels(pool, entries, sizes, read)):
                    out.write(piece)
                    total = zlib.crc32(piece, total)
                out.write(total.to_bytes(SUM, "little"))
        except OutputError as error:
            reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
            raise OutputError(
                f"cannot keep decoded images in {path.parent}, which takes {needs:,} bytes: {reason or error}; "
                "make room there and let it be written, or leave --cache out"
            ) from error


def is_whole(path: Path) -> bool:
    """Return whether there is a file, and what it holds has the checksum that it ends in."""
    try:
        content = np.memmap(path, np.uint8, "r").view(np.ndarray)
    except (OSError, ValueError):
        return False
    total, end = 0, len(content) - SUM
    for start in range(0, end, PIECE):
        total = zlib.crc32(content[start : min(start + PIECE, end)].data, total)
    return end > 0 and content[end:].tobytes() == total.to_bytes(SUM, "little")


def forget_stale(folder: Path) -> None:
    """Remove, where it may be removed, what was kept in `folder` of files that are gone or have changed since."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        if _is_stale(path):
            with suppress(OSError):
                path.unlink()


def _is_stale(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            told = json.loads(file.readline())["files"]
        root = path.parent.parent
        return any(_status(root / name, root) != [name, size, date] for name, size, date in told)
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _status(file: Path, root: Path) -> list[str | int]:
    status = file.stat()
    return [os.path.relpath(file, root), status.st_size, status.st_mtime_ns]


def _require_room(folder: Path, needs: int) -> None:
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < needs:
        raise OutputError(f"{free:,} are free")


def _pixels(pool: ThreadPoolExecutor, entries: Sequence[Any], sizes: Sequence[Sizes], read: Callable[[Any], Images]) -> Iterator[bytes]:
    """Yield the pixels of every image, a few entries ahead."""
    for start in range(0, len(entries), AHEAD):
        some = entries[start : start + AHEAD]
        for entry, images, expected in zip(some, pool.map(read, some), sizes[start:], strict=False):
            if _sizes(images) != expected:
                raise DataError(f"{entry} has changed while it was read: start again")
            yield from (image.tobytes() for image in _parts(images))


def _sizes(images: Images) -> Sizes:
    return [(image.height, image.width) for image in _parts(images)]


def _parts(images: Images) -> tuple[Image.Image, ...]:
    """Return the images of an entry.

    Raises:
        DataError: it holds something else.
    """
    parts = images if isinstance(images, tuple) else (images,)
    if not all(isinstance(part, Image.Image) and part.mode == "RGB" for part in parts):
        raise DataError("this data set reads something else than RGB images, which alone can be kept decoded: leave --cache out")
    return parts

"""The cache of decoded images: one file of pixels in the data folder, which is mapped into memory.

The file contains a line of JSON (heights and widths of the images; names, sizes and dates of their source files), the pixels as 8-bit RGB,
and the CRC-32 of both.
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
CHECKSUM = 4
"""Bytes of the checksum at the end."""
CHUNK = 1 << 24
"""Bytes that the checksum reads at once."""
AHEAD = 64
"""Entries that are decoded in parallel before they are written."""

Sizes = list[tuple[int, int]]
"""Height and width of each image of an entry."""
Images = Image.Image | tuple[Image.Image, ...]
"""The images of an entry."""


class DecodedImages:
    """The images of a file that `write_decoded` wrote. A pickled copy maps the file again by its path.

    Args:
        path: the file.
        entries: the entries of the images, in the order in which they were written.

    Attributes:
        size: size of the file in bytes.
    """

    def __init__(self, path: Path, entries: Iterable[Any]) -> None:
        self.path = path
        self.size = path.stat().st_size
        with path.open("rb") as file:
            header = file.readline()
        start = len(header)
        self._locations: dict[Any, list[tuple[int, int, int]]] = {}
        for entry, sizes in zip(entries, json.loads(header)["images"], strict=True):
            self._locations[entry] = []
            for height, width in sizes:
                self._locations[entry].append((start, height, width))
                start += height * width * 3

    def read(self, entry: Any) -> Images:
        """Return the images of an entry.

        Raises:
            DataError: the file is missing or was replaced.
        """
        images = tuple(self._image(*location) for location in self._locations[entry])
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
        # Slices of a plain array are created faster.
        return mapped.view(np.ndarray)


def write_decoded(path: Path, entries: Sequence[Any], files: Iterable[Path], read: Callable[[Any], Images]) -> None:
    """Decode all entries and write their images to a file.

    Args:
        path: the file to write, in a folder inside the data folder.
        entries: the arguments of `read`.
        files: the source files, whose sizes and dates are recorded.
        read: decodes an entry into an RGB image or a tuple of RGB images.

    Raises:
        DataError: an image cannot be read, is not RGB, or changes in the meantime.
        OutputError: the disk is full, or the file cannot be written.
    """
    with ThreadPoolExecutor() as pool:
        # The first pass only finds the sizes, so that a full disk is noticed before anything is written.
        sizes = list(pool.map(lambda entry: _sizes(read(entry)), entries))
        header = json.dumps({"images": sizes, "files": [status_of(file, path.parent.parent) for file in files]}).encode() + b"\n"
        needs = len(header) + 3 * sum(height * width for images in sizes for height, width in images) + CHECKSUM
        try:
            _require_room(path.parent, needs)
            with replacing(path) as fresh, fresh.open("wb") as out:
                checksum = 0
                for chunk in chain([header], _pixels(pool, entries, sizes, read)):
                    out.write(chunk)
                    checksum = zlib.crc32(chunk, checksum)
                out.write(checksum.to_bytes(CHECKSUM, "little"))
        except OutputError as error:
            reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else None
            raise OutputError(
                f"cannot keep decoded images in {path.parent}, which takes {needs:,} bytes: {reason or error}; "
                "make room there and let it be written, or leave `cache` out"
            ) from error


def is_whole(path: Path) -> bool:
    """Return whether the file exists and its content matches the checksum at its end."""
    try:
        content = np.memmap(path, np.uint8, "r").view(np.ndarray)
    except (OSError, ValueError):
        return False
    checksum, end = 0, len(content) - CHECKSUM
    for start in range(0, end, CHUNK):
        checksum = zlib.crc32(content[start : min(start + CHUNK, end)].data, checksum)
    return end > 0 and content[end:].tobytes() == checksum.to_bytes(CHECKSUM, "little")


def remove_stale(folder: Path) -> None:
    """Remove caches in `folder` whose source files are missing or have changed; caches that cannot be removed stay."""
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):
        if _is_stale(path):
            with suppress(OSError):
                path.unlink()


def status_of(file: Path, root: Path) -> list[str | int]:
    """Return the path of a file relative to the data folder, its size in bytes and its date in nanoseconds."""
    status = file.stat()
    return [os.path.relpath(file, root), status.st_size, status.st_mtime_ns]


def _is_stale(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            recorded = json.loads(file.readline())["files"]
        root = path.parent.parent
        return any(status_of(root / name, root) != [name, size, date] for name, size, date in recorded)
    except (OSError, ValueError, KeyError, TypeError):
        return True


def _require_room(folder: Path, needs: int) -> None:
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    if free < needs:
        raise OutputError(f"{free:,} are free")


def _pixels(pool: ThreadPoolExecutor, entries: Sequence[Any], sizes: Sequence[Sizes], read: Callable[[Any], Images]) -> Iterator[bytes]:
    """Yield the pixels of every image, a few entries ahead."""
    for start in range(0, len(entries), AHEAD):
        group = entries[start : start + AHEAD]
        for entry, images, expected in zip(group, pool.map(read, group), sizes[start:], strict=False):
            if _sizes(images) != expected:
                raise DataError(f"{entry} has changed while it was read: start again")
            yield from (image.tobytes() for image in _as_tuple(images))


def _sizes(images: Images) -> Sizes:
    return [(image.height, image.width) for image in _as_tuple(images)]


def _as_tuple(images: Images) -> tuple[Image.Image, ...]:
    """Return the images of an entry.

    Raises:
        DataError: it contains something other than RGB images.
    """
    group = images if isinstance(images, tuple) else (images,)
    if not all(isinstance(image, Image.Image) and image.mode == "RGB" for image in group):
        raise DataError("this dataset reads something other than RGB images, and only these can be cached: leave `cache` out")
    return group

"""The base class of datasets of image files: checks, identity, and the cache of decoded images."""

from __future__ import annotations

import abc
import copy
import json
import os
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from gcc.data.cache import CHUNK, PREFIX, SUFFIX, DecodedImages, is_whole, remove_stale, status_of, write_decoded
from gcc.data.inspection import ImageInfo, inspect_images
from gcc.errors import DataError, listed
from gcc.recipe import RGB, Range
from gcc.registry.dataset import DatasetSource

F = TypeVar("F")


class ImagesOnDisk(DatasetSource, Generic[F]):
    """Samples that are read from files.

    Attributes:
        root: the data folder, which moves without another `identity`.
        files: the files of each sample, such as a path or a pair of paths.
        cache: the decoded images; None if every read decodes the files.
        value_range: the values of black and white in files with more than 8 bits, which `read` takes; None if each type has its own.
    """

    resizes: ClassVar[bool] = False
    """Whether images are resized to the recipe's size."""
    resized_part: str = ""
    """Which part of an image is resized, such as "each half of "; empty if images are whole."""

    root: Path
    files: list[F]
    cache: DecodedImages | None = None
    value_range: Range | None = None

    def __len__(self) -> int:
        return len(self.files)

    @abc.abstractmethod
    def read(self, file: F) -> Any:
        """Decode an entry of `files`.

        Raises:
            DataError: an image cannot be read; the message names it.
        """

    def images(self, file: F) -> Any:
        """Return what `read` returns, from the cache if there is one; samples are built from it.

        Raises:
            DataError: an image cannot be read; the message names it.
        """
        return self.read(file) if self.cache is None else self.cache.read(file)

    def cached(self, folder: Path) -> Self:
        remove_stale(folder)
        path = folder / f"{PREFIX}{self.identity}{SUFFIX}"
        if not is_whole(path):
            write_decoded(path, self.files, _paths(self.files), self.read)
        source = copy.copy(self)
        source.cache = DecodedImages(path, self.files)
        return source

    @property
    def cache_path(self) -> Path | None:
        return None if self.cache is None else self.cache.path

    def check(self) -> list[tuple[int, str]]:
        # Decoders release the GIL.
        with ThreadPoolExecutor() as pool:
            return [(number, reason) for number, reason in enumerate(pool.map(self._fault, self.files)) if reason]

    @property
    def identity(self) -> str:
        return self._digest(status_of(path, self.root) for path in _paths(self.files))

    @property
    def content_digest(self) -> str:
        with ThreadPoolExecutor() as pool:
            return self._digest(pool.map(partial(_content_of, root=self.root), _paths(self.files)))

    def _digest(self, files: Iterable[list[str | int]]) -> str:
        # The other attributes decide how the files are read. Renaming one would orphan the caches that users have.
        options = {name: value for name, value in vars(self).items() if name not in ("files", "note", "cache", "root")}
        if options.get("channels") == (RGB, RGB):
            del options["channels"]
        if options.get("value_range", ...) is None:
            del options["value_range"]
        digest = sha256(repr((type(self).__name__, sorted(options.items()))).encode())
        for file in files:
            digest.update(json.dumps(file).encode())
        return digest.hexdigest()[:16]

    def inspect(self) -> list[ImageInfo]:
        """Return what is known of every image that can be read before it is converted."""
        return inspect_images((image for file in self.files for image in self.images_of(file)), self.value_range)

    @property
    def folders(self) -> set[Path]:
        """The folders that the files lie in."""
        return {path.parent for path in self.paths}

    @property
    def paths(self) -> set[Path]:
        """The files that are read."""
        return set(_paths(self.files))

    def images_of(self, file: F) -> Iterator[tuple[Path, int]]:
        """Yield those files of an entry that are images, and the number of channels that each is read with."""
        return ((path, RGB) for path in _paths(file))

    def drop(self, bad: Collection[int]) -> Self:
        rest = copy.copy(self)
        rest.files = [file for number, file in enumerate(self.files) if number not in bad]
        if not rest.files:
            raise DataError(f"none of the {len(self.files)} samples can be used")
        return rest

    def _fault(self, file: F) -> str:
        """Return why an entry cannot be read; an empty string if it can."""
        return fault(self.read, file)


def unreadable(read: Callable[[F], object], files: Sequence[F]) -> dict[F, str]:
    """Return the files that `read` cannot read, and why."""
    # Decoders release the GIL.
    with ThreadPoolExecutor() as pool:
        return {file: reason for file, reason in zip(files, pool.map(partial(fault, read), files), strict=True) if reason}


def fault(read: Callable[[F], object], file: F) -> str:
    """Return why `read` cannot read a file; an empty string if it can."""
    try:
        read(file)
    except DataError as error:
        return str(error)
    return ""


def refuse_bad(reasons: Sequence[str], what: str = "images") -> None:
    """Raise an error if there are reasons why samples or images cannot be used.

    Raises:
        DataError: there are some; the message lists them.
    """
    if reasons:
        count = f"{len(reasons)} {what} cannot be used: " if len(reasons) > 1 else ""
        raise DataError(f"{count}{listed(reasons)} (`skip_bad=True` leaves bad images out)")


def _content_of(file: Path, root: Path) -> list[str | int]:
    """Return the path of a file relative to the data folder and the checksum of its content.

    Raises:
        DataError: it cannot be read.
    """
    checksum = 0
    try:
        with file.open("rb") as content:
            while chunk := content.read(CHUNK):
                checksum = zlib.crc32(chunk, checksum)
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}") from error
    return [os.path.relpath(file, root), checksum]


def _paths(entry: Any) -> Iterator[Path]:
    if isinstance(entry, Path):
        yield entry
    elif isinstance(entry, Iterable) and not isinstance(entry, str):
        for part in entry:
            yield from _paths(part)

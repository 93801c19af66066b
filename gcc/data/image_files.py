"""What every data set of image files shares: reading each once before training, and leaving out what cannot be read."""

from __future__ import annotations

import abc
import copy
from collections.abc import Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

from gcc.data.cache import PREFIX, SUFFIX, Decoded, forget_stale, is_whole, keep
from gcc.errors import DataError
from gcc.registry.dataset import DatasetSource

F = TypeVar("F")


class ImagesOnDisk(DatasetSource, Generic[F]):
    """Samples that are read from files.

    Attributes:
        files: what each sample is read from, such as a path or a pair of paths.
        kept: the images as `cached` keeps them; none where they are decoded whenever they are asked for.
    """

    files: list[F]
    kept: Decoded | None = None

    def __len__(self) -> int:
        return len(self.files)

    @abc.abstractmethod
    def read(self, file: F) -> Any:
        """Return what an entry of `files` holds, as it is on disk.

        Raises:
            DataError: an image cannot be read; the message names it.
        """

    def images(self, file: F) -> Any:
        """Return what `read` does, from what is kept decoded if there is anything; samples are made of it.

        Raises:
            DataError: an image cannot be read; the message names it.
        """
        return self.read(file) if self.kept is None else self.kept.read(file)

    def cached(self, folder: Path) -> Self:
        forget_stale(folder)
        path = folder / f"{PREFIX}{self.identity}{SUFFIX}"
        if not is_whole(path):
            keep(path, self.files, _paths(self.files), self.read)
        rest = copy.copy(self)
        rest.kept = Decoded(path, self.files)
        return rest

    @property
    def cache_path(self) -> Path | None:
        return None if self.kept is None else self.kept.path

    def check(self) -> list[tuple[int, str]]:
        # Decoders let other threads run.
        with ThreadPoolExecutor() as pool:
            return [(number, fault) for number, fault in enumerate(pool.map(self._fault, self.files)) if fault]

    @property
    def identity(self) -> str:
        # All but the files tells how they are read.
        told = {name: value for name, value in vars(self).items() if name not in ("files", "note", "kept")}
        digest = sha256(repr((type(self).__name__, sorted(told.items()))).encode())
        for path in _paths(self.files):
            status = path.stat()
            digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
        return digest.hexdigest()[:16]

    def drop(self, bad: Collection[int]) -> Self:
        rest = copy.copy(self)
        rest.files = [file for number, file in enumerate(self.files) if number not in bad]
        if not rest.files:
            raise DataError(f"none of the {len(self.files)} samples can be used")
        return rest

    def _fault(self, file: F) -> str:
        """Return why an entry cannot be read; nothing if it can."""
        try:
            self.read(file)
        except DataError as error:
            return str(error)
        return ""


def _paths(entry: Any) -> Iterator[Path]:
    if isinstance(entry, Path):
        yield entry
    elif isinstance(entry, Iterable) and not isinstance(entry, str):
        for part in entry:
            yield from _paths(part)

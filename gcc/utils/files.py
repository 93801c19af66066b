"""Atomic writes (a file is complete or absent) and checks of output folders."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gcc.errors import OutputError, RunError

if sys.platform != "win32":
    import fcntl


def _umask() -> int:
    """Return the permissions that the user withholds from new files; reading them takes setting them."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


FILE_MODE = 0o666 & ~_umask()
"""The permissions of new files, as `open` gives them; temporary files have fewer."""
FOLDER_MODE = 0o777 & ~_umask()
"""The permissions of new folders."""
_LOCK_HANDLES: set[int] = set()
"""File descriptors of the folders that this process has locked."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield the path of a new file in the same folder, which replaces `path`, synced to disk, if the block succeeds.

    Raises:
        OutputError: the file cannot be written.
    """
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        fresh = Path(name)
        try:
            yield fresh
            with fresh.open("rb+") as file:
                os.fsync(file.fileno())
            fresh.chmod(FILE_MODE)
            fresh.replace(path)
            _sync(path.parent)
        finally:
            fresh.unlink(missing_ok=True)


@contextmanager
def replacing_all(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield a new folder; what the block writes there under the names of `paths`, which share a folder, replaces these if it succeeds.

    Each path may be a file or a folder. The first is replaced last, when all others are complete.

    Raises:
        OutputError: a path cannot be written.
    """
    parent = paths[0].parent
    with explained(paths[0]):
        parent.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=parent, prefix=f".{paths[0].name}."))
    try:
        yield fresh
        with explained(paths[0]):
            for written in fresh.rglob("*"):
                written.chmod(FOLDER_MODE if written.is_dir() else FILE_MODE)
                if written.is_file():
                    with written.open("rb+") as file:
                        os.fsync(file.fileno())
            for path in reversed(paths):
                if path.is_dir():
                    shutil.rmtree(path)
                (fresh / path.name).replace(path)
            _sync(parent)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sync(folder: Path) -> None:
    """Sync the names in a folder to disk, except on Windows, which opens no folders."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; what UTF-8 cannot encode, such as odd bytes of a file name, is written as an escape sequence."""
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8", errors="backslashreplace")


class FolderLock:
    """A lock on a folder, which one process at a time can have.

    The system releases it when the process ends, however it ends. It is not a file, so nothing is left behind. On Windows, and on file
    systems without such locks, every process can have it.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Lock the folder, which must exist, and return whether no other process or object has locked it."""
        if sys.platform == "win32" or self._handle is not None:
            return True
        handle = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            return not isinstance(error, BlockingIOError)
        self._handle = handle
        _LOCK_HANDLES.add(handle)
        return True

    def require(self) -> None:
        """Lock the folder, which must exist.

        Raises:
            RunError: another process trains there.
        """
        if not self.acquire():
            raise RunError(f"another process trains in {self.folder}: wait until it ends, or stop it")

    def release(self) -> None:
        """Unlock the folder, if it is locked."""
        if self._handle is not None:
            _LOCK_HANDLES.discard(self._handle)
            os.close(self._handle)
            self._handle = None


def _leave_locks_to_parent() -> None:
    """Close the locks of the parent process in a fork of it. Processes that read images could outlive it, and would keep them."""
    for handle in _LOCK_HANDLES:
        os.close(handle)
    _LOCK_HANDLES.clear()


if sys.platform != "win32":
    os.register_at_fork(after_in_child=_leave_locks_to_parent)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn the operating system's errors while `path` is written into `OutputError`, which names a file elsewhere that caused one."""
    try:
        yield
    except OSError as error:
        reason, remedy = str(error.strerror or error), "check the disk's space and permissions, or write elsewhere"
        if isinstance(error.filename, str) and not Path(error.filename).resolve().is_relative_to(path.parent.resolve()):
            reason, remedy = f"{reason}: {error.filename}", "check this file's permissions and its disk"
        raise OutputError(f"cannot write {path}: {reason}; {remedy}") from error


def require_room(out: Path, *, needs: int) -> None:
    """Refuse an output folder that cannot be written or is too full; a missing folder is created.

    Args:
        out: the output folder.
        needs: number of bytes that the run will write.

    Raises:
        OutputError: the folder cannot be written, or is too full.
    """
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(bytes(4096))
        free = shutil.disk_usage(out).free
        if free < needs:
            raise OutputError(
                f"{out} has {free / 1e6:.0f} MB free, and the run will write about {needs / 1e6:.0f} MB: choose another `out`"
            )


def set_aside(folder: Path, names: Iterable[str]) -> Path | None:
    """Move the entries of `folder` with these names into a new folder inside it, in this order, and return it; None if there are none.

    Raises:
        OutputError: an entry cannot be moved.
    """
    existing = [name for name in names if (folder / name).exists()]
    if not existing:
        return None
    with explained(folder):
        aside = fresh_folder(folder / "replaced")
        aside.mkdir()
        for name in existing:
            (folder / name).rename(aside / name)
    return aside


def require_no_file(folder: Path) -> None:
    """Refuse a path of a folder that is a file, or inside one; the folder need not exist.

    Raises:
        OutputError: it is a file, or inside one.
    """
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if nearest and not nearest.is_dir():
        inside = "" if nearest == folder else f", so {folder} cannot be written"
        raise OutputError(f"{nearest} is a file{inside}: expected a folder, which need not exist yet")


def require_replaceable(path: Path, is_replaceable: Callable[[Path], bool], contents: str) -> None:
    """Refuse a path for a new file that is a folder, lies below a file, or is a file with other contents.

    Args:
        path: the path.
        is_replaceable: returns whether an existing file has the contents that the new one will have.
        contents: what these are, for messages.

    Raises:
        OutputError: the path is one of these.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder: expected a file, such as {path / contents}.json")
    above = next(parent for parent in path.absolute().parents if parent.exists())
    if not above.is_dir():
        raise OutputError(f"{above} is a file, so that {path} cannot be written: choose another path")
    if path.exists() and not is_replaceable(path):
        raise OutputError(f"{path} already exists and contains no {contents}: choose another path, or move it away")


def require_empty(folder: Path) -> None:
    """Refuse a folder that is not empty; it need not exist.

    Raises:
        OutputError: the path is a file or in one, or the folder is not empty.
    """
    require_no_file(folder)
    if folder.exists() and any(folder.iterdir()):
        raise OutputError(f"{folder} is not empty: choose another folder, which need not exist yet")


def fresh_folder(base: Path) -> Path:
    """Return `base` if it does not exist, else `base` with the first free number appended.

    >>> fresh_folder(Path("/nowhere/runs/pix2pix"))
    PosixPath('/nowhere/runs/pix2pix')
    """
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder

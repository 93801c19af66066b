"""Writing so that nothing saved is lost: a file is whole or absent."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gcc.errors import OutputError

RUN_FILES = ("recipe.toml", "metrics.jsonl", "samples", "student", "teacher")
"""What a run leaves in its output folder."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a new file's path beside `path`, which takes its place, synced to disk, if all goes well.

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
            fresh.chmod(0o644)
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what the operating system says of `path` into an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; free the space or choose another --out") from error


def claim(out: Path, *, force: bool, needs: int) -> None:
    """Make `out` ready for a run before any long work.

    Args:
        out: the output folder; made if it is missing.
        force: replace the run that it holds.
        needs: bytes that the run will write.

    Raises:
        OutputError: `out` holds a run and `force` is off, cannot be written, or its disk is too full.
    """
    held = [name for name in RUN_FILES if (out / name).exists()]
    if held and not force:
        raise OutputError(f"{out} already holds a run ({', '.join(held)}): choose another --out, or replace it with --force")
    with explained(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out) as probe:
            probe.write(bytes(4096))
        free = shutil.disk_usage(out).free
    if free < needs:
        raise OutputError(
            f"{out} has {free / 1e6:.0f} MB free and the run will write about {needs / 1e6:.0f} MB: free the space or choose another --out"
        )
    for name in held:
        held_path = out / name
        with explained(held_path):
            shutil.rmtree(held_path) if held_path.is_dir() else held_path.unlink()


def fresh_folder(base: Path) -> Path:
    """Return `base`, or with the first free number behind it, so that no earlier run is in the way.

    >>> fresh_folder(Path("/nowhere/runs/pix2pix"))
    PosixPath('/nowhere/runs/pix2pix')
    """
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder

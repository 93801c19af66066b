"""Checkpoints of a run: all that it needs to go on as if it had never stopped, in one safetensors file each.

What is no tensor lies as JSON in the file's header. A file is whole or absent, and of several the newest whole one counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gcc.artifacts.run_folder import CHECKPOINTS
from gcc.errors import GccError
from gcc.utils.files import explained, replacing
from gcc.utils.state_tree import flatten_state, to_safetensors, unflatten_state

STEM = "checkpoint"
HEADER = "gcc"


@dataclass(frozen=True)
class Schedule:
    """When checkpoints are written: in these intervals, and after every epoch.

    Attributes:
        seconds: the longest time between two; 0 for any.
        steps: the most iterations between two; 0 for any.
        keep: the newest so many are kept.
    """

    seconds: float = 600.0
    steps: int = 0
    keep: int = 2

    @classmethod
    def parse(cls, text: str, keep: int = 2) -> Schedule:
        """Return the schedule of a text such as `10m`, in minutes, or `500`, in iterations.

        Raises:
            GccError: it is neither.
        """
        number, unit = (text[:-1], "m") if text.endswith("m") else (text, "")
        try:
            value = float(number) if unit else int(number)
        except ValueError:
            value = 0
        if not 0 < value < 1e9:
            raise GccError(f"checkpoints every {text!r}: expected minutes such as 10m, or iterations such as 500")
        return cls(seconds=60.0 * value, keep=keep) if unit else cls(seconds=0.0, steps=int(value), keep=keep)


USUAL = Schedule()


class Checkpoints:
    """The checkpoints of one run.

    Args:
        out: the run's folder.
        keep: the newest so many are kept, at least one.
    """

    def __init__(self, out: Path, keep: int = 2) -> None:
        self.folder = out / CHECKPOINTS
        self.keep = max(1, keep)

    def begin(self) -> None:
        """Make their folder, which is there as long as the run is not finished, and take away what was left of writings that were cut off.

        Raises:
            OutputError: it cannot be made.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear_torn()

    def save(self, snapshot: Mapping[str, Any]) -> Path:
        """Write a checkpoint, take the oldest away, and return where it is.

        Args:
            snapshot: nested plain values and tensors.

        Raises:
            OutputError: it cannot be written; those before it are still there.
        """
        plain, tensors = flatten_state(snapshot)
        found = self._files()
        path = self.folder / f"{STEM}-{_number(found[-1]) + 1 if found else 1:06}.safetensors"
        with replacing(path) as fresh:
            try:
                save_file(to_safetensors(tensors), fresh, metadata={HEADER: json.dumps(plain)})
            except SafetensorError as error:
                raise OSError(str(error)) from error
        with explained(self.folder):
            for old in found[: -self.keep + 1 or None]:
                old.unlink(missing_ok=True)
        return path

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self._files()

    def newest(self) -> dict[str, Any]:
        """Return the newest snapshot that is whole; an empty one where there is none."""
        for path in reversed(self._files()):
            try:
                return _read(path)
            except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
                continue
        return {}

    def clear(self) -> None:
        """Take them all away, with what was left of writings that were cut off.

        Raises:
            OutputError: they cannot be removed.
        """
        with explained(self.folder):
            for path in self._files():
                path.unlink(missing_ok=True)
            self._clear_torn()
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def _clear_torn(self) -> None:
        for path in self.folder.glob(f".{STEM}-*"):
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{STEM}-*.safetensors"), key=_number)


def _number(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def _read(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        plain = json.loads((file.metadata() or {})[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    snapshot = unflatten_state(plain, tensors)
    if not isinstance(snapshot, dict):
        raise ValueError(f"{path} holds no snapshot")
    return snapshot

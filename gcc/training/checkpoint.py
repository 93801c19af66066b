"""Checkpoints: the complete state of a run, in one safetensors file each. A resumed run gives the same bits as an uninterrupted one.

Plain values are JSON in the file's header. Files are written atomically; `newest` returns the most recent readable one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from gcc.artifacts.run_folder import CHECKPOINTS, FINAL_STATE
from gcc.errors import GccError, RunError
from gcc.recipe import differences, differs_in_length_only, training_steps, with_new_fields
from gcc.training.context import RunContext
from gcc.utils.files import explained, replacing
from gcc.utils.state_tree import flatten_state, to_safetensors, unflatten_state

CheckpointState = Mapping[str, Any]
"""The content of a checkpoint: nested plain values and tensors."""
FORMAT = 4
"""The version of the layout. A run resumes only from checkpoints of this version."""
STEM = "checkpoint"
HEADER = "gcc"


@dataclass(frozen=True)
class Schedule:
    """When checkpoints are written, beside the end of every epoch.

    Attributes:
        seconds: the longest time between two; 0 sets no limit.
        steps: the most steps between two; 0 sets no limit.
        keep: the number of checkpoints to keep. 0 keeps one until the run has finished, and then none.
    """

    seconds: float = 600.0
    steps: int = 0
    keep: int = 2

    @classmethod
    def parse(cls, text: str, keep: int = 2) -> Schedule:
        """Return the schedule of a text: minutes such as `10m`, or steps such as `500`.

        Raises:
            GccError: the text is neither.
        """
        number, unit = (text[:-1], "m") if text.endswith("m") else (text, "")
        try:
            value = float(number) if unit else int(number)
        except ValueError:
            value = 0
        if not 0 < value < 1e9:
            raise GccError(f"checkpoints every {text!r}: expected minutes such as 10m, or steps such as 500")
        return cls(seconds=60.0 * value, keep=keep) if unit else cls(seconds=0.0, steps=int(value), keep=keep)


DEFAULT_SCHEDULE = Schedule()


class Checkpoints:
    """The checkpoints of one run.

    Args:
        out: the run's folder.
        keep: the number of checkpoints to keep while the run trains, at least one. A finished run keeps the last one, unless this is 0.
    """

    def __init__(self, out: Path, keep: int = 2) -> None:
        self.folder = out / CHECKPOINTS
        self.final = out / FINAL_STATE
        self.keep = keep

    def begin(self) -> None:
        """Create the folder, which exists as long as the run is not finished, and remove what interrupted writes left.

        Raises:
            OutputError: it cannot be created.
        """
        with explained(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_partial()

    def save(self, state: CheckpointState) -> Path:
        """Write a checkpoint, remove the oldest ones, and return its path.

        Raises:
            OutputError: it cannot be written; earlier checkpoints are still there.
        """
        plain, tensors = flatten_state(state)
        files = self._files()
        path = self.folder / f"{STEM}-{_number(files[-1]) + 1 if files else 1:06}.safetensors"
        with replacing(path) as temporary:
            try:
                save_file(to_safetensors(tensors), temporary, metadata={HEADER: json.dumps(plain)})
            except SafetensorError as error:
                raise OSError(str(error)) from error
        with explained(self.folder):
            for old in files[: -max(1, self.keep) + 1 or None]:
                old.unlink(missing_ok=True)
        return path

    @property
    def is_empty(self) -> bool:
        """Whether there is no checkpoint."""
        return not (self._files() or self.final.exists())

    def newest(self) -> CheckpointState:
        """Return the newest whole checkpoint, or an empty mapping if there is none. That of a finished run is older than any other."""
        for path in (*reversed(self._files()), self.final):
            try:
                return _read(path)
            except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
                continue
        return {}

    def finish(self) -> None:
        """Keep the newest checkpoint as the state of the finished run, unless `keep` is 0, and remove all others.

        Raises:
            OutputError: the files cannot be moved or removed.
        """
        newest = self._files()[-1:]
        with explained(self.final):
            if not self.keep:
                self.final.unlink(missing_ok=True)
            elif newest:
                os.replace(newest[0], self.final)
        self.clear()

    def clear(self) -> None:
        """Remove all checkpoints but that of a finished run, and what interrupted writes left.

        Raises:
            OutputError: they cannot be removed.
        """
        with explained(self.folder):
            for path in self._files():
                path.unlink(missing_ok=True)
            self._remove_partial()
            if self.folder.is_dir() and not any(self.folder.iterdir()):
                self.folder.rmdir()

    def _remove_partial(self) -> None:
        for path in self.folder.glob(f".{STEM}-*"):
            path.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"{STEM}-*.safetensors"), key=_number)


def require_resumable(checkpoint: CheckpointState, context: RunContext) -> None:
    """Refuse a checkpoint that does not belong to a run. All ranks must call this.

    Raises:
        RunError: it belongs to another recipe, another teacher or range of values, other data, another version or another number of ranks.
    """
    ranks = context.ranks
    position = [checkpoint.get(name) for name in ("phase", "epoch", "done")]
    if any(ranks.all_reduce_max(ranks.broadcast_object(position) != position)):
        raise RunError("the processes of this run find different checkpoints: give all of them access to the same `out`")
    if checkpoint.get("format") != FORMAT:
        raise RunError(
            f"the run was started by another version (checkpoint format {checkpoint.get('format')}, expected {FORMAT}): "
            "resume it with that version, or start a new one"
        )
    if checkpoint["arch"] != context.arch:
        raise RunError(f"the run to resume trains {checkpoint['arch']}, not {context.arch}")
    before, now = with_new_fields(context.recipe, checkpoint["recipe"]), context.recipe.to_dict()
    if not differs_in_length_only(before, now):
        raise RunError(f"the run to resume has another recipe: {differences(before, now)}; resume it with that recipe, or start a new one")
    # Earlier versions recorded neither the user's networks nor the teacher.
    described = context.architecture.describe_networks()
    recorded = checkpoint.get("networks", described)
    for name in ("value_range", "input_shape"):
        if recorded.get(name) != described.get(name):
            raise RunError(
                f"the run to resume began with {name} = {recorded.get(name)}, not {described.get(name)}: give it that, or start a new one"
            )
    given = context.teacher.digests
    began = checkpoint.get("teacher", given)
    if changed := [context.teacher.networks.source_of(name) for name in {**began, **given} if began.get(name) != given.get(name)]:
        raise RunError(
            f"the run to resume began with other weights of its teacher ({', '.join(changed)}): give it those, or start a new one"
        )
    if checkpoint["samples"] != len(context.data.train):
        raise RunError(
            f"the run to resume trains on {checkpoint['samples']} samples, and {len(context.data.train)} are there now: "
            "bring its data back, or start a new one"
        )
    least = training_steps(before, context.loader.steps)
    if context.training_steps < least:
        raise RunError(f"the run to resume is longer ({differences(before, now)}): a run may only grow, so give at least {least} steps")
    world = len(checkpoint["ranks"])
    filled = any(any(pools.values()) for pools in checkpoint["state"]["pools"].values())
    if filled and world != ranks.world:
        raise RunError(
            f"the run to resume had {world} processes, each with separate image pools, and there are {ranks.world} now: give it {world}"
        )


def _number(path: Path) -> int:
    digits = path.stem.rpartition("-")[2]
    return int(digits) if digits.isdecimal() else 0


def _read(path: Path) -> CheckpointState:
    with safe_open(path, framework="pt") as file:
        plain = json.loads((file.metadata() or {})[HEADER])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - the file is not a mapping
    state = unflatten_state(plain, tensors)
    if not isinstance(state, dict):
        raise ValueError(f"{path} does not hold a checkpoint")
    return state

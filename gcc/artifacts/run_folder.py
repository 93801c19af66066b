"""The folder of a run: the names of its files, and the command line that it keeps so that its name is enough to resume it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from gcc.artifacts.hub import is_address
from gcc.errors import OutputError, RunError
from gcc.utils.files import explained, require_room, set_aside, write_text

CHECKPOINTS = "checkpoints"
COMMAND = "command.json"
METRICS_FILE = "metrics.jsonl"
RESULTS = ("student", "teacher", "last", "report.html")
"""What a run leaves in its output folder in the end."""
RUN_FILES = ("recipe.toml", COMMAND, "metrics.jsonl", "samples", CHECKPOINTS, *RESULTS, "tensorboard")
"""What a run leaves in its output folder."""
RECIPE_FILE = "recipe.toml"
"""What tells a run's folder from any other, as `COMMAND` does, which a run writes before."""


def require_free(out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Refuse an output folder that a run must not write to; nothing is changed.

    Args:
        out: the output folder.
        force: whether the run that it holds may be moved aside.
        inputs: folders that the run reads, which must stay where they are.

    Raises:
        OutputError: `out` holds a run and `force` is off, something else in the way, or an input, or is one.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file: expected a folder, which need not exist yet")
    with explained(out):
        held = _held(out)
    if held and not any((out / mark).exists() for mark in (RECIPE_FILE, COMMAND)):
        raise OutputError(f"{out} holds {', '.join(held)} and no {RECIPE_FILE}, so it is no run's folder: choose another --out")
    if held and not force:
        raise OutputError(f"{out} already holds a run ({', '.join(held)}): choose another --out, or move it aside with --force")
    for path in inputs:
        if held and path.resolve().is_relative_to(out.resolve()):
            raise OutputError(f"{out} holds {path}, which this run reads: choose another --out")
        if out.resolve() == path.resolve():
            raise OutputError(f"{out} is what this run reads: choose another --out")


def claim(out: Path, *, needs: int) -> Path | None:
    """Make `out` ready for a run before any long work, and return where the run that it held has been moved to, if it held one.

    Args:
        out: the output folder; made if it is missing.
        needs: bytes that the run will write.

    Raises:
        OutputError: it cannot be written, or is too full.
    """
    require_room(out, needs=needs)
    # The mark goes last: whatever interrupts this, the rest stays known as a run's.
    return set_aside(out, reversed(_held(out)))


def is_finished(out: Path) -> bool:
    """Return whether a folder holds a run that has ended well: it has left its results, and its checkpoints are gone."""
    return any((out / side).exists() for side in ("student", "teacher")) and not (out / CHECKPOINTS).exists()


def _held(out: Path) -> list[str]:
    return [name for name in RUN_FILES if (out / name).exists()]


PATHS = ("data", "teacher", "recipe", "widths")
"""Options that name files or folders."""
RENAMED_OPTIONS = {"counter": "mac_counter", "keep": "keep_checkpoints", "metrics": "evaluators", "plain": "reference"}
"""Options by the names that they had in version 0.1."""
RENAMED_KEYS = RENAMED_OPTIONS | {"files": "weights"}
"""The same, of the options in `COMMAND`."""
PER_CALL_OPTIONS = ("out", "force", "dry_run")
"""Options that are of one call alone."""


def save_command(out: Path, command: str, options: Mapping[str, Any]) -> None:
    """Write the options of a command to a run's folder; paths become absolute.

    Raises:
        OutputError: the folder cannot be written.
    """
    kept = {name: value for name, value in options.items() if name not in PER_CALL_OPTIONS}
    kept |= {name: str(kept[name] if is_address(kept[name]) else Path(kept[name]).resolve()) for name in PATHS if kept.get(name)}
    kept["weights"] = [f"{name}={Path(path).resolve()}" for name, _, path in (file.partition("=") for file in kept["weights"])]
    write_text(out / COMMAND, json.dumps({"command": command, "options": kept}, indent=2) + "\n")


def load_command(out: Path, command: str, options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return the options that a run was started with, where they are not given anew; those that repeat are put together.

    Args:
        out: the run's folder.
        command: the name of the command that resumes it.
        options: of that command.
        given: those that the user has given.

    Raises:
        RunError: there is no run, or one of another command.
    """
    place = out / COMMAND
    try:
        kept = json.loads(place.read_text(encoding="utf-8"))
        before, found = kept["command"], {RENAMED_KEYS.get(name, name): value for name, value in dict(kept["options"]).items()}
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{out} holds no run that can be resumed: it has no {COMMAND}; expected the folder of an unfinished run") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{place} is damaged: resume with `--resume auto`, --out {out} and the options of the run") from error
    if before != command:
        raise RunError(f"{out} was made by `gcc {before}`: resume it with that")
    known = {name: _typed(place, name, found[name]) for name in options if name in found}
    # What may be given several times is added to what was given.
    repeated = {name: (*value, *options[name]) for name, value in known.items() if isinstance(value, tuple)}
    return {**options, **{name: value for name, value in known.items() if name not in given}, **repeated}


def data_of(folder: Path) -> tuple[Path | None, str | None] | None:
    """Return the data folder and data set of the run in whose folder a generator is saved; none where that cannot be known."""
    for above in folder.resolve().parents:
        if (above / COMMAND).is_file():
            try:
                options = json.loads((above / COMMAND).read_text(encoding="utf-8"))["options"]
                return options["data"] and Path(options["data"]), options["dataset"]
            except (OSError, ValueError, KeyError, TypeError, RecursionError):
                break
    return None


def _typed(place: Path, name: str, value: Any) -> Any:
    """Return a value of the file as the command line would have given it."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if value is not None and not isinstance(value, str | int | float):
        raise RunError(f"{place}: {name} = {value!r} is no option of a command")
    return Path(value) if name in PATHS and isinstance(value, str) else value

"""The command line of a run, kept in its folder so that the run can be resumed by its folder's name alone."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from gcc.errors import RunError
from gcc.files import COMMAND, write_text
from gcc.hub import is_address

PATHS = ("data", "teacher", "recipe", "widths")
"""Options that name files or folders."""
PASSING = ("out", "force", "dry_run")
"""Options that are of one call alone."""


def remember(out: Path, command: str, options: Mapping[str, Any]) -> None:
    """Write the options of a command to a run's folder; paths become absolute.

    Raises:
        OutputError: the folder cannot be written.
    """
    kept = {name: value for name, value in options.items() if name not in PASSING}
    kept |= {name: str(kept[name] if is_address(kept[name]) else Path(kept[name]).resolve()) for name in PATHS if kept.get(name)}
    kept["files"] = [f"{name}={Path(path).resolve()}" for name, _, path in (file.partition("=") for file in kept["files"])]
    write_text(out / COMMAND, json.dumps({"command": command, "options": kept}, indent=2) + "\n")


def recalled(out: Path, command: str, options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
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
        before, found = kept["command"], dict(kept["options"])
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

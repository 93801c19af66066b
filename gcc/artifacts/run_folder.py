"""The folder of a run: the names of its files, and the command line that it stores so that `--resume` needs only the folder's name."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from gcc.artifacts.hub import is_address
from gcc.errors import OutputError, RunError, abridged
from gcc.utils.files import FolderLock, explained, require_no_file, require_room, set_aside, write_text

RECIPE_FILE = "recipe.toml"
"""The file that marks a folder as a run's folder (`COMMAND_FILE` is written earlier and marks it too)."""
COMMAND_FILE = "command.json"
METRICS_FILE = "metrics.jsonl"
INFO_FILE = "run.json"
REPORT_FILE = "report.html"
SAMPLES = "samples"
"""The folder of the sample grids that are saved during training."""
CHECKPOINTS = "checkpoints"
FINAL_STATE = "checkpoint.safetensors"
"""The complete state of a finished run, from which it can go on for more epochs."""
TENSORBOARD = "tensorboard"
STUDENT, TEACHER = "student", "teacher"
BEST: Final = "best"
LAST: Final = "last"
"""The folders of the saved generators; `best` and `last` contain those of the best or last epoch if another one is the result."""
RESULTS = (STUDENT, TEACHER, BEST, LAST, REPORT_FILE)
"""What a run writes when it ends."""
RUN_FILES = (RECIPE_FILE, COMMAND_FILE, METRICS_FILE, INFO_FILE, SAMPLES, CHECKPOINTS, FINAL_STATE, *RESULTS, TENSORBOARD)
"""Everything that a run writes. Evaluations and exports of its generators are next to these, such as `student-evaluation.json`."""
RESULT_DEPTH = 3
"""Folders from a saved generator up to its run, at most, as in `best/student/A2B`."""
GROUP_DEPTH = 2
"""Folders from a run up to its sweep or ablation, at most, as in `variant/seed-0`."""
NAMED = 8
"""The most runs that a message names."""
PATH_OPTIONS = ("data", "teacher", "recipe", "widths", "student")
"""Command-line options that name files or folders."""
PER_CALL_OPTIONS = ("out", "force", "dry_run")
"""Command-line options that apply to one call only."""
CODE_PATH = re.compile(r"[\w.]+:[\w.]+")
"""The path of a generator's code, such as `my_package.models:Generator`."""
RENAMED_OPTIONS = {"counter": "mac_counter", "keep": "keep_checkpoints", "metrics": "evaluators", "plain": "reference"}
"""Options by the names that they had in version 0.1."""
RENAMED_KEYS = RENAMED_OPTIONS | {"files": "weights"}
"""Current names of the keys of `command.json`, by their names in version 0.1."""


def require_free(out: Path, *, force: bool, inputs: Iterable[Path]) -> None:
    """Refuse an output folder that a run must not write to; nothing is changed.

    Args:
        out: the output folder.
        force: whether an earlier run in it may be moved aside.
        inputs: folders that the run reads, which must stay where they are.

    Raises:
        OutputError: `out` is a file or in one, is an input or contains one, contains other files than a run's, or a run and `force` is off.
    """
    require_no_file(out)
    with explained(out):
        existing = _existing_files(out)
    if existing and not is_run(out):
        raise OutputError(f"{out} contains {', '.join(existing)} and no {RECIPE_FILE}, so it is not a run's folder: choose another `out`")
    if existing and not force:
        go_on = f"{advice}, " if (advice := continuation(out)) else ""
        raise OutputError(
            f"{out} already contains a run ({', '.join(existing)}): {go_on}choose another `out`, or move it aside with `force`"
        )
    for path in inputs:
        if existing and path.resolve().is_relative_to(out.resolve()):
            raise OutputError(f"{out} contains {path}, which this run reads: choose another `out`")
        if out.resolve() == path.resolve():
            raise OutputError(f"{out} is what this run reads: choose another `out`")


def claim(out: Path, *, needs: int) -> Path | None:
    """Prepare `out` for a run before any long work.

    Args:
        out: the output folder; created if it is missing.
        needs: bytes that the run will write.

    Returns:
        The folder that an earlier run has been moved to; None if there was no earlier run.

    Raises:
        OutputError: the folder cannot be written, or its disk is too full.
    """
    require_room(out, needs=needs)
    # The marking files go last: if this is interrupted, the rest is still recognised as a run's.
    return set_aside(out, reversed(_existing_files(out)))


def is_run(out: Path) -> bool:
    """Return whether a folder contains a run, whose files have these names; those of other folders may have them by chance."""
    return any((out / mark).exists() for mark in (RECIPE_FILE, COMMAND_FILE))


def set_run_aside(out: Path) -> Path | None:
    """Move a run that a folder contains into a new folder inside it, and return that; None if it contains no run.

    Raises:
        RunError: another process trains there.
        OutputError: a file cannot be moved.
    """
    if not is_run(out):
        return None
    lock = FolderLock(out)
    lock.require()
    try:
        return set_aside(out, reversed(_existing_files(out)))
    finally:
        lock.release()


def is_finished(out: Path) -> bool:
    """Return whether a folder contains a run that ended normally: its results exist, and its checkpoints are deleted.

    A run that failed may have saved results, too, but it keeps its checkpoints. This is the one rule for all commands and reports.
    """
    return any((out / role).exists() for role in (STUDENT, TEACHER)) and not (out / CHECKPOINTS).exists()


def has_stopped(out: Path) -> bool:
    """Return whether a folder contains a run that can go on: it has a checkpoint and has not finished."""
    return (out / CHECKPOINTS).is_dir() and (out / COMMAND_FILE).is_file()


def runs_in(folder: Path) -> list[Path]:
    """Return the runs in the folder of a sweep, an ablation or other runs; an empty list for the folder of a run itself."""
    if (folder / RECIPE_FILE).is_file():
        return []
    return sorted(path.parent for pattern in ("*", "*/*") for path in folder.glob(f"{pattern}/{RECIPE_FILE}"))


def choice_of_runs(folder: Path, runs: Sequence[Path]) -> str:
    """Return why the folder of several runs cannot be used, and what to name instead."""
    names = [str(run.relative_to(folder)) for run in runs]
    return f"{folder} contains the runs {abridged(names, NAMED)}: name one, such as {runs[0]}"


def _existing_files(out: Path) -> list[str]:
    derived = sorted(path.name for role in (STUDENT, TEACHER) for path in out.glob(f"{role}[-.]*"))
    return [name for name in RUN_FILES if (out / name).exists()] + derived


def save_command(out: Path, command: str, options: Mapping[str, Any], line: str = "") -> None:
    """Write the options of a command to a run's folder; paths become absolute.

    Args:
        out: the run's folder.
        command: the name of the command.
        options: its options.
        line: the command line, for readers.

    Raises:
        OutputError: the folder cannot be written.
    """
    saved = {name: value for name, value in options.items() if name not in PER_CALL_OPTIONS}
    for name in PATH_OPTIONS:
        if path := saved.get(name):
            saved[name] = str(path if is_address(path) else Path(path).resolve())
    saved["weights"] = [f"{name}={Path(path).resolve()}" for name, _, path in (file.partition("=") for file in saved["weights"])]
    write_text(out / COMMAND_FILE, json.dumps({"command": command, "line": line, "options": saved}, indent=2) + "\n")


def load_command(out: Path, command: str, options: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """Return the options of a resumed run: those that the user gives now, else those that the run was started with.

    Args:
        out: the run's folder.
        command: the name of the command that resumes it.
        options: the options of that command.
        given: the names of those that the user has given; the values of a repeatable option are added to the saved ones.

    Raises:
        RunError: the folder contains no run, its file is damaged, or another command started the run.
    """
    path = out / COMMAND_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        saved_command, saved = content["command"], {RENAMED_KEYS.get(name, name): value for name, value in dict(content["options"]).items()}
    except (FileNotFoundError, NotADirectoryError) as error:
        if group := _group_of(out):
            raise RunError(f"{out} is a run of `gcc {group[1]}`: resume it with {resume_command(group[1], group[0])}") from error
        if folder := next((parent for parent in out.parents[:RESULT_DEPTH] if (parent / COMMAND_FILE).is_file()), None):
            whole = resume_command(_saved_text(folder, "command") or command, folder)
            raise RunError(f"{out} is a part of the run in {folder}: resume that with {whole}") from error
        raise RunError(
            f"{out} contains no run that can be resumed: it has no {COMMAND_FILE}; expected the folder of a run, such as runs/pix2pix"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunError(f"{path} is damaged: resume with `gcc {command} --resume auto --out {out}` and the options of the run") from error
    if saved_command != command:
        raise RunError(f"{out} was started by `gcc {saved_command}`: resume it with {resume_command(saved_command, out)}")
    known = {name: _option(path, name, saved[name]) for name in options if name in saved}
    repeated = {name: (*value, *options[name]) for name, value in known.items() if isinstance(value, tuple)}
    return {**options, **{name: value for name, value in known.items() if name not in given}, **repeated}


def _group_of(out: Path) -> tuple[Path, str] | None:
    """Return the folder and the command of the sweep or the ablation that a run belongs to; None if it belongs to none."""
    for folder in out.parents[:GROUP_DEPTH] if (out / RECIPE_FILE).exists() else ():
        if command := _saved_text(folder, "command"):
            return folder, command
    return None


def resume_command(command: str, out: Path) -> str:
    """Return the command that continues the run, or the runs, in a folder, between backticks; one's own code is named again."""
    folder, code = shlex.quote(str(out)), code_in(out)
    return f"`gcc {command} --resume {folder} --generator {code}`" if code else f"`gcc {command} --resume {folder}`"


def continuation(out: Path) -> str:
    """Return how to continue the run in a folder that has stopped before its end; an empty string if there is none, or no known command."""
    command = _saved_text(out, "command") if has_stopped(out) else ""
    return f"continue it with {resume_command(command, out)}" if command else ""


def code_of(folder: Path) -> str:
    """Return the path of the code by which the command of a run made the generator that is saved in `folder`; empty if it is unknown."""
    started_in = _command_folder(folder.resolve())
    return "" if started_in is None else code_in(started_in)


def code_in(out: Path) -> str:
    """Return the path of a generator's code that a folder's `COMMAND_FILE` names; an empty string if there is none."""
    try:
        code = json.loads((out / COMMAND_FILE).read_text(encoding="utf-8"))["options"]["generator"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""
    return code if isinstance(code, str) and CODE_PATH.fullmatch(code) else ""


def command_line_of(out: Path) -> str:
    """Return the command line that started the run in a folder; an empty string if it is unknown."""
    return _saved_text(out, "line")


def _saved_text(out: Path, name: str) -> str:
    """Return a text of a folder's `COMMAND_FILE`; an empty string if it is unknown."""
    try:
        return str(json.loads((out / COMMAND_FILE).read_text(encoding="utf-8"))[name])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


@dataclass(frozen=True)
class RunData:
    """The data of a run.

    Attributes:
        folder: the folder of the images; None for generated data.
        dataset: the dataset that reads it; None if the layout determines it.
        skip_bad: whether images that cannot be read are left out.
    """

    folder: Path | None
    dataset: str | None
    skip_bad: bool = False


def data_of(folder: Path) -> RunData | None:
    """Return the data of the run that saved a generator in `folder`; None if it is unknown."""
    started_in = _command_folder(folder.resolve())
    if started_in is None:
        return None
    try:
        options = json.loads((started_in / COMMAND_FILE).read_text(encoding="utf-8"))["options"]
        data = options["data"] and Path(options["data"])
        return RunData(data, options["dataset"], bool(options.get("skip_bad")))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def why_unknown(folder: Path) -> str:
    """Return why the data of the generator in `folder` is unknown: the rest of a sentence about it. `data_of` returns None for it."""
    run = _run_of(folder.resolve())
    if run is None or _command_folder(folder.resolve()):
        return "is not in the folder of a run, so its data is unknown"
    return f"is of a run that was saved from Python, which does not record its data ({run} has no {COMMAND_FILE})"


def _run_of(folder: Path) -> Path | None:
    """Return the folder of the run that saved a generator in `folder`, a resolved path. Without such a run, return None."""
    run = next((parent for parent in folder.parents[:RESULT_DEPTH] if is_run(parent)), None)
    return run if run and _is_of_result(folder.relative_to(run).parts) else None


def _command_folder(folder: Path) -> Path | None:
    """Return the folder of the run, or of its sweep or ablation, that saved a generator in `folder`; None if no run did.

    The folders between them have the names that a run gives them, so that a copy elsewhere below a run does not belong to it.
    """
    run = _run_of(folder)
    if run is None:
        return None
    groups = [] if (run / COMMAND_FILE).is_file() else [group for group in run.parents[:GROUP_DEPTH] if not (group / RECIPE_FILE).exists()]
    return next((started_in for started_in in (run, *groups) if (started_in / COMMAND_FILE).is_file()), None)


def _is_of_result(parts: Sequence[str]) -> bool:
    """Return whether a path within a run is that of a saved generator, such as `student`, `student/A2B` or `best/teacher`."""
    within = parts[1:] if parts[0] in (BEST, LAST) else parts
    return len(within) in (1, 2) and within[0] in (STUDENT, TEACHER)


def _option(path: Path, name: str, value: Any) -> Any:
    """Return a value of the file with the type that the command line gives it."""
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if value is not None and not isinstance(value, str | int | float):
        raise RunError(f"{path}: {name} = {value!r} is not an option of a command")
    return Path(value) if name in PATH_OPTIONS and isinstance(value, str) else value

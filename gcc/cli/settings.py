"""What a command's options mean for a run: the teacher, the recipe and the keywords of `Compressor`."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gcc.artifacts.hub import is_address
from gcc.cli.errors import notice
from gcc.cli.options import SEARCH_FIELDS, STUDENT_OPTIONS, TRAINING_FIELDS, flag
from gcc.cli.values import parse_assignments, parse_factory, parse_weights, range_of, shape_of
from gcc.errors import GccError
from gcc.training.config import RunConfig

if TYPE_CHECKING:
    from gcc.training.teacher import Teacher


def set_by_user(names: Collection[str]) -> set[str]:
    """Return the options among `names` that the user has set on the command line."""
    context = click.get_current_context()
    return {name for name in names if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}


def command_line(options: Mapping[str, Any]) -> str:
    """Return the present command with the options that differ from their defaults, without those that apply to one call only."""
    context = click.get_current_context()
    words = ["gcc", str(context.info_name)]
    for parameter in context.command.params:
        value = options.get(str(parameter.name))
        is_unset = value is None or value is False or value == ()
        if is_unset or value == parameter.default or parameter.name in ("dry_run", "force"):
            continue
        for one in value if isinstance(value, tuple) else (value,):
            words += [parameter.opts[0]] if one is True else [parameter.opts[0], str(one)]
    return shlex.join(words)


def run_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of `Compressor` and `Trainer` among a command's options, without the recipe fields."""
    arguments = {option.name: options[option.name] for option in fields(RunConfig) if option.name in options}
    arguments["weights"] = parse_weights(options["weights"])
    # A dry run writes nothing.
    arguments["cache"] = options["cache"] and not options["dry_run"]
    return arguments


def report_overridden_fields(options: Mapping[str, Any]) -> None:
    """Print a line for each recipe field of the command line that has two values; flags win over `--set`, and later ones over earlier ones.

    Args:
        options: those of the command line alone, without what a resumed run has saved.
    """
    from gcc.recipe import renamed, size_fields

    assigned: dict[str, str] = {}
    for assignment in options["assignments"]:
        for name, value in renamed(parse_assignments([assignment])).items():
            if assigned.get(name, value) != value:
                notice(f"--set {name}={value} replaces --set {name}={assigned[name]}")
            assigned[name] = value
    flags = {name: options[name] for name in set_by_user({*TRAINING_FIELDS, *SEARCH_FIELDS} & options.keys())}
    for name, value in (flags | (size_fields(flags["size"]) if "size" in flags else {})).items():
        if str(value) != assigned.get(name, str(value)):
            notice(f"{flag(name)} {flags.get(name, value)} replaces --set {name}={assigned[name]}")


def teacher_and_settings(options: Mapping[str, Any]) -> tuple[Teacher, dict[str, Any]]:
    """Return the teacher, and the recipe fields from a file, a preset, `--set` and flags, where the later source wins.

    Raises:
        GccError: a source cannot be read, or two of them name different architectures.
    """
    from gcc.recipe import read_toml, renamed
    from gcc.registry import ARCHITECTURES
    from gcc.registry.presets import preset

    settings = renamed(read_toml(options["recipe"])) if options["recipe"] else {}
    arch = _arch(options, settings.pop("arch", None))
    saved = _saved_teacher(options)
    is_own = saved is None and (options.get("generator") or options.get("task") or options["teacher"])
    if options.get("preset"):
        family = saved.family if saved else ARCHITECTURES.load(arch) if arch and not is_own else None
        settings |= preset(options["preset"], family.presets if family else {}).settings
    settings = _replaced(settings, _given_fields(options), options)
    if is_own:
        return _own_teacher(options, settings), settings
    return _family_teacher(options, arch, saved), settings


def _arch(options: Mapping[str, Any], of_file: Any) -> str | None:
    """Return the architecture that the options or the recipe's file name; None if neither does.

    Raises:
        GccError: they name different ones.
    """
    arch: str | None = options["arch"] or of_file
    if of_file not in (None, arch):
        raise GccError(f"--recipe {options['recipe']} is for {of_file}, but --arch is {arch}: leave out --arch, or use another recipe")
    return arch


def _saved_teacher(options: Mapping[str, Any]) -> Teacher | None:
    """Return the teacher in the folder or repository that `--teacher` names; None if it names a file, or is not given.

    Raises:
        GccError: the teacher cannot be read.
    """
    from gcc.training.teacher import Teacher

    location = options["teacher"]
    if not location or not (is_address(location) or Path(location).is_dir()):
        return None
    return Teacher.load(location, parse_factory(options.get("generator")))


def _given_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe fields of `--set` and of flags, which win.

    Raises:
        GccError: both lengths of a run are given, or a width other than that of a saved student.
    """
    from gcc.recipe import renamed, require_one_length, size_fields

    flags = {name: options[name] for name in (*TRAINING_FIELDS, *SEARCH_FIELDS) if options.get(name) is not None}
    size = {} if options.get("size") is None else size_fields(options["size"])
    given = renamed(parse_assignments(options["assignments"])) | flags | size
    require_one_length(given)
    if "budget" in given and (fixed := next((name for name in STUDENT_OPTIONS if options.get(name)), None)):
        raise GccError(f"--budget and {flag(fixed)} exclude each other: the saved student has its own widths")
    return given


def _replaced(settings: Mapping[str, Any], given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe fields of a file and a preset, without what belongs to those that are given, and the given ones."""
    from gcc.recipe import without_replaced_length

    kept = without_replaced_length(settings, given)
    dropped: set[str] = set()
    if "steps" in kept:
        # A run saves the epochs that its steps took.
        dropped |= {"epochs"}
    if "budget" in given:
        # The file's counter and width belong to the file's budget.
        dropped |= {"mac_counter", "prune_width"}
    if options.get("size") is not None:
        dropped |= {"image_width"}
    return {name: value for name, value in kept.items() if name not in dropped} | dict(given)


def _family_teacher(options: Mapping[str, Any], arch: str | None, saved: Teacher | None) -> Teacher:
    """Return the saved teacher, else a new one of the architecture.

    Raises:
        GccError: there is neither, they contradict each other, or options are for own generators alone.
    """
    from gcc.training.teacher import Teacher

    if unused := [flag(name) for name in ("example", "value_range") if options.get(name)]:
        raise GccError(
            f"{' and '.join(unused)}: only for a generator in your own code; leave it out, or name the code with --generator MODULE:NAME"
        )
    if saved:
        if arch not in (None, saved.arch):
            raise GccError(f"--teacher {options['teacher']} is a {saved.arch}, but the architecture is {arch}: leave out --arch")
        return saved
    if arch is None:
        raise GccError("no architecture: give --arch NAME (see `gcc list`) or --teacher DIR")
    return Teacher.create(arch)


def _own_teacher(options: Mapping[str, Any], settings: Mapping[str, Any]) -> Teacher:
    """Return the teacher of a generator in the user's own code, or of a file of weights.

    Raises:
        GccError: options are missing or exclude each other, or the generator cannot be used.
    """
    from gcc.registry import TASKS
    from gcc.training.teacher import Teacher

    file, code, task, arch = (options[name] for name in ("teacher", "generator", "task", "arch"))
    if arch is not None and not (code or task):
        raise GccError(
            f"{file} contains weights alone: make a teacher of them with `gcc import --arch {arch} {file} TEACHER`, and give --teacher "
            f"TEACHER; if they belong to other code than {arch}'s, give --generator MODULE:NAME and --task NAME instead of --arch"
        )
    if arch is not None:
        raise GccError(f"--arch {arch} is an architecture of its own: leave it out, or leave out --generator and --task")
    fields = {name: value for name, value in settings.items() if name != "discriminator"}
    if code is None:
        if unused := [flag(name) for name in ("example", "value_range") if options.get(name)]:
            raise GccError(f"{' and '.join(unused)}: only for a generator in your own code; name it with --generator MODULE:NAME")
        if file is None:
            raise GccError(
                f"--task {task} needs a generator: give its code with --generator MODULE:NAME, or its weights with --teacher FILE"
            )
        return Teacher.of_file(file, **({"task": task} if task else {}), **fields)
    if task is None:
        raise GccError(f"--generator needs --task NAME: {', '.join(TASKS.names())}")
    given: dict[str, Any] = {"value_range": range_of(options["value_range"])} if options.get("value_range") else {}
    if options.get("example"):
        import torch

        given["example"] = torch.zeros(shape_of(options["example"]))
    return Teacher.of_code(code, task, file, **given, **fields)

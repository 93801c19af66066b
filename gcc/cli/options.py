"""Options that several commands share, and what their values mean."""

from __future__ import annotations

import shlex
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gcc.artifacts.hub import is_address
from gcc.artifacts.run_folder import PATH_OPTIONS, RENAMED_OPTIONS
from gcc.cli.errors import notice
from gcc.errors import GccError
from gcc.training.config import RunConfig, choices_of

if TYPE_CHECKING:
    from gcc.training.teacher import Teacher

Function = Callable[..., None]
Decorator = Callable[[Function], Function]


def flag(name: str) -> str:
    """Return the flag of an option, such as `--batch-size` for `batch_size`."""
    return f"--{name.replace('_', '-')}"


PATH = click.Path(path_type=Path)
RENAMED_FLAGS = {flag(old): flag(new) for old, new in RENAMED_OPTIONS.items()}
"""Flags by the names that they had in version 0.1."""

LARGEST = 16384
"""Largest width and height."""


def size_of(value: str) -> tuple[int, int]:
    """Return the width and the height of a size such as `640x480`, or `512` for both.

    Raises:
        click.BadParameter: the text is not a size, or one that is too large.
    """
    width, cross, height = value.lower().partition("x")
    try:
        size = int(width), int(height if cross else width)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a size: expected N or WxH, such as 512 or 640x480") from None
    if not all(0 < side <= LARGEST for side in size):
        raise click.BadParameter(f"{value!r}: expected a width and a height from 1 to {LARGEST}")
    return size


def parse_size(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return the size that an option states, as a callback. None if the option is not given."""
    return None if value is None else size_of(value)


def checked(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback that refuses what `parse` refuses, and returns the text: a resumed run reads it from a file."""

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            parse(value)
        return value

    return check


TRAINING_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "evaluators": {"metavar": "NAMES", "help": "Evaluators, comma-separated; see `gcc list`."},
    "direction": {"type": click.Choice(["AtoB", "BtoA"]), "help": "Which image of a pair is the input."},
    "size": {"callback": checked(size_of), "metavar": "N|WxH", "help": "Size of the training images, such as 256 or 512x256."},
    "range": {"metavar": "LOW..HIGH", "help": "Values of black and white in files with more than 8 bits, such as 0..4095."},
    "epochs": {
        "type": int,
        "metavar": "N",
        "help": "Number of epochs; in `gcc compress`, teacher and student train together for this many, after a search of a tenth as many.",
    },
    "steps": {"type": int, "metavar": "N", "help": "Number of training steps instead of epochs; the run ends after exactly so many."},
    "batch_size": {"type": int, "metavar": "N", "help": "Samples per batch."},
    "seed": {"type": int, "metavar": "N", "help": "Seed of all random numbers."},
}
"""The recipe fields that have a flag, with the attributes of their click options."""
SEARCH_FIELDS: Mapping[str, Mapping[str, Any]] = {
    "metric": {"metavar": "NAME", "help": "Importance metric: slimming, l1 or a plugin's."},
    "selector": {"metavar": "NAME", "help": "Distillation layers: paper, uniform, all, or comma-separated module names."},
    "prune_width": {
        "type": int,
        "metavar": "N",
        "help": "Width of the generator that is pruned  [default: follows from --budget if given]",
    },
    "budget": {
        "metavar": "B",
        "help": "3.0G or 900M MACs, 25% of the teacher's, 2.5Mparams, 8ms@cpu (or cuda, ncnn); comma-separated for several generators.",
    },
    "round_to": {"type": int, "metavar": "N", "help": "Prune to multiples of this many channels, such as 8."},
    "mac_counter": {
        "type": click.Choice(["exact", "paper"]),
        "help": "How MACs are counted for the budget  [default: exact if --budget is given]",
    },
}
"""The same for the search for widths."""


STUDENT_OPTIONS = ("widths", "student")
"""Fields of `RunConfig` that belong to the student of a single compression."""


def config_option(name: str) -> Decorator:
    """Return the click option of a field of `RunConfig`; paths and numbers are typed, and `weights` may be repeated."""
    (option,) = (option for option in fields(RunConfig) if option.name == name)
    kind = typing.get_type_hints(RunConfig)[name]
    kinds = {kind, typing.get_origin(kind), *typing.get_args(kind)}
    attributes: dict[str, Any] = {"help": option.metadata["help"], "metavar": option.metadata["metavar"] or None}
    if Mapping in kinds:
        return click.option(flag(name), multiple=True, **attributes)
    if bool in kinds:
        return click.option(flag(name), is_flag=True, **attributes)
    if choices := choices_of(name):
        attributes["type"] = click.Choice(choices)
    elif int in kinds:
        attributes["type"] = click.IntRange(option.metadata["minimum"])
    elif Path in kinds:
        attributes["type"] = PATH
    return click.option(flag(name), default=option.default, show_default=option.default is not None, **attributes)


def field_option(name: str) -> Decorator:
    """Return the click option of a recipe field."""
    return click.option(flag(name), **{**TRAINING_FIELDS, **SEARCH_FIELDS}[name])


def with_options(options: Sequence[Decorator]) -> Decorator:
    """Return a decorator that adds options in the order in which `--help` lists them."""

    def decorate(command: Function) -> Function:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


device_option = config_option("device")
skip_bad_option = config_option("skip_bad")
weights_option = config_option("weights")


def shape_of(value: str) -> tuple[int, ...]:
    """Return a shape of a text such as `1x3x64x64`.

    Raises:
        click.BadParameter: the text is not a shape of one sample.
    """
    sizes = value.lower().split("x")
    if not all(size.isascii() and size.isdigit() and 0 < int(size) <= LARGEST for size in sizes) or sizes[0] != "1" or len(sizes) < 2:
        raise click.BadParameter(f"{value!r}: expected the shape of one sample, such as 1x100 or 1x3x64x64")
    return tuple(map(int, sizes))


def range_of(value: str) -> tuple[float, float]:
    """Return the values of black and white of a text such as `0..1`, or `0,1` as in earlier versions.

    Raises:
        click.BadParameter: the text is not two numbers.
    """
    from gcc.recipe import parse_range

    try:
        return parse_range(value.strip("()").replace(",", ".."))
    except GccError:
        raise click.BadParameter(f"{value!r}: expected the values of black and white, the lower first, such as 0..1") from None


def parse_factory(value: str | None) -> Any:
    """Return what makes the generator that a path such as `my_package.models:Generator` names; None if there is no path."""
    if value is None:
        return None

    def factory() -> Any:
        from gcc.custom.own_code import generator_at

        return generator_at(value, None)

    return factory


generator_option = click.option(
    "--generator",
    "factory",
    metavar="MODULE:NAME",
    callback=lambda context, parameter, value: parse_factory(value),
    help="The class or function that returns the full generator, if it is your own.",
)

own_code_options = (
    click.option(
        "--example",
        metavar="AxBxC",
        callback=checked(shape_of),
        help="Shape of one input of your own generator, such as 1x100 for noise  [default: an image]",
    ),
    click.option(
        "--value-range",
        metavar="LOW..HIGH",
        callback=checked(range_of),
        help="The values that your own generator uses for black and white  [default: -1..1]",
    ),
)
"""How your own generator is called."""

run_options = with_options(
    [
        click.option("--arch", metavar="NAME", help="GAN architecture; see `gcc list`. Not needed with --teacher."),
        click.option(
            "--teacher",
            metavar="DIR|FILE",
            type=PATH,
            help="Start from a saved teacher, or from the weights of a restoration network, such as a .pth file of Real-ESRGAN.",
        ),
        click.option("--generator", metavar="MODULE:NAME", help="Start from your own generator; --teacher FILE has its weights."),
        *own_code_options,
        click.option("--task", metavar="NAME", help="What your own generator, or that of a file, does; see `gcc list`."),
        *(config_option(option.name) for option in fields(RunConfig) if option.name not in STUDENT_OPTIONS),
        *map(field_option, TRAINING_FIELDS),
        click.option("--recipe", metavar="FILE.toml", type=PATH, help="Read recipe fields from a file."),
        click.option(
            "--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set any recipe field; --dry-run prints all of them."
        ),
        click.option("--out", metavar="DIR", type=PATH, help="Output folder  [default: runs/ARCH, numbered]"),
        click.option("--dry-run", is_flag=True, help="Print the full recipe, the costs and the plan, then stop."),
    ]
)
"""What is trained, on what data, where and how."""

folder_options = with_options(
    [
        click.option("--force", is_flag=True, help="If --out already contains a run, move that aside."),
        click.option("--tensorboard", is_flag=True, help="Also write a TensorBoard log to the output folder."),
        click.option("--resume", metavar="DIR|auto", help="Resume the run in DIR; auto resumes the run in --out, or starts one."),
        click.option(
            "--checkpoint-every",
            default="10m",
            show_default=True,
            metavar="T",
            help="Time between checkpoints, in minutes or as a number of steps such as 500; one is also written after every epoch.",
        ),
        click.option(
            "--keep-checkpoints",
            type=click.IntRange(0, 1000),
            default=2,
            show_default=True,
            metavar="N",
            help="Number of recent checkpoints to keep; 0 keeps none of a finished run, which then cannot train for more epochs.",
        ),
    ]
)
"""The folder of a single run."""

search_options = with_options([*map(field_option, SEARCH_FIELDS)])
"""The search for a student's widths."""

sweep_options = with_options(
    [
        click.option(
            "--budget",
            "budgets",
            multiple=True,
            metavar="B",
            help="Budget of one student, as in `gcc compress`; give this option once for each student.",
        ),
        *(field_option(name) for name in SEARCH_FIELDS if name != "budget"),
    ]
)
"""The searches for the widths of several students."""

group_options = with_options([click.option("--resume", metavar="DIR", type=PATH, help="Continue the runs in DIR with their options.")])
"""The folder of several runs."""

student_options = with_options(
    [
        click.option(
            "--preset",
            metavar="NAME",
            help="A variant without one part of the method, such as pruned-only (see `gcc ablate`), or a budget that the family names.",
        ),
        *(config_option(name) for name in STUDENT_OPTIONS),
    ]
)
"""The student of a compression."""


def with_current_names(command: click.Command, arguments: Iterable[str]) -> list[str]:
    """Return a command's arguments with flags of version 0.1 under their present names, and print each present name."""
    known = {name for parameter in command.params for name in parameter.opts}
    current, rest = [], iter(arguments)
    for argument in rest:
        old, equals, value = argument.partition("=")
        new = RENAMED_FLAGS.get(old)
        if new in known:
            notice(f"{old} is now called {new}")
            argument = f"{new}{equals}{value}"
        current.append(argument)
        if argument == "--":
            break
    return [*current, *rest]


def require_inputs(options: Mapping[str, Any]) -> None:
    """Refuse files and folders that do not exist, before a command imports torch.

    Raises:
        GccError: one does not exist.
    """
    for name in PATH_OPTIONS:
        if path := options.get(name):
            require_existing(path, f"{flag(name)} {path}")


def require_existing(path: str | Path, given: str) -> None:
    """Refuse the path of a file or folder that does not exist; an address of the Hugging Face Hub is none.

    Args:
        path: the path.
        given: how the user gave it, for the message.

    Raises:
        GccError: it does not exist.
    """
    if not is_address(path) and not Path(path).exists():
        start = "" if Path(path).is_absolute() else f"; relative paths start in {Path.cwd()}"
        raise GccError(f"{given}: there is no such file or folder{start}")


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


def parse_weights(files: Iterable[str]) -> dict[str, str]:
    """Return the files of `--weights NAME=FILE` by network.

    Raises:
        GccError: a text has no name or no file.

    >>> parse_weights(["vgg19=vgg19.pth"])
    {'vgg19': 'vgg19.pth'}
    """
    weights = {}
    for file in files:
        name, equals, path = file.partition("=")
        if not (equals and name and path):
            example = f"vgg19={file}" if Path(file).suffix else f"{file or 'vgg19'}=FILE"
            raise GccError(f"--weights {file}: expected NAME=FILE, such as --weights {example}")
        weights[name] = path
    return weights


def parse_assignments(assignments: Iterable[str]) -> dict[str, str]:
    """Return the values of `--set KEY=VALUE` by recipe field, as text.

    Raises:
        GccError: a text has no equals sign.

    >>> parse_assignments(["tau=0.1", "budget = 25%"])
    {'tau': '0.1', 'budget': '25%'}
    """
    settings = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise GccError(f"--set {assignment}: expected KEY=VALUE, such as --set tau=0.1")
        settings[key.strip()] = value.strip()
    return settings


def parse_decibels(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return a number of decibels, as a callback. None if the option is not given.

    Raises:
        click.BadParameter: the text is not a number.
    """
    try:
        return None if value is None else float(value.lower().removesuffix("db"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a number of dB, such as 0.2dB") from None


precision_option = click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of weights and activations; fp16 for onnx, openvino, ncnn and coreml, int8 for onnx, openvino and litert.",
)
calibration_option = click.option(
    "--calibration", metavar="DIR", type=PATH, help="Images to measure on  [default: the run's data, or noise]"
)
max_loss_option = click.option(
    "--max-loss", metavar="DB", callback=parse_decibels, help="Largest loss of quality that fp16 or int8 may cause, such as 0.2dB."
)

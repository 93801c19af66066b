"""Options that several commands share."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import click

from gcc.artifacts.hub import is_address
from gcc.artifacts.run_folder import PATH_OPTIONS, RENAMED_OPTIONS
from gcc.cli.errors import notice
from gcc.cli.values import checked, only_budget, parse_decibels, parse_factory, range_of, shape_of, size_of
from gcc.errors import GccError
from gcc.training.config import RunConfig, choices_of

Function = Callable[..., None]
Decorator = Callable[[Function], Function]


def flag(name: str) -> str:
    """Return the flag of an option, such as `--batch-size` for `batch_size`."""
    return f"--{name.replace('_', '-')}"


PATH = click.Path(path_type=Path)
AUTO = "auto"
"""The value of `--resume` that resumes the run in `--out`, or starts one."""
RENAMED_FLAGS = {flag(old): flag(new) for old, new in RENAMED_OPTIONS.items()}
"""Flags by the names that they had in version 0.1."""


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
    "metric": {"metavar": "NAME", "help": "Importance metric: slimming, l1, l1_paper or a plugin's."},
    "selector": {"metavar": "NAME", "help": "Distillation layers: paper, uniform, all, or comma-separated module names."},
    "prune_width": {
        "type": int,
        "metavar": "N",
        "help": "Width of the generator that is pruned  [default: follows from --budget if given]",
    },
    "budget": {
        "multiple": True,
        "callback": only_budget,
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
    for name in (*PATH_OPTIONS, "resume"):
        if (path := options.get(name)) and path != AUTO:
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

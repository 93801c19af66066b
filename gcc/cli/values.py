"""What the texts of options mean."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from gcc.errors import GccError

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
    """Return the size that an option states, as a callback; without the option, return None."""
    return None if value is None else size_of(value)


def checked(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback that refuses what `parse` refuses, and returns the text: a resumed run reads it from a file."""

    def check(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            parse(value)
        return value

    return check


def only_budget(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the budget that a repeatable option states, as a callback. None if the option is not given.

    Raises:
        GccError: the option is given more than once.
    """
    if len(values) > 1:
        raise GccError(f"{len(values)} budgets ({', '.join(values)}): expected one; `gcc sweep` takes several")
    return values[0] if values else None


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
    """Return a function that makes the generator at a path such as `my_package.models:Generator`, or None without a path."""
    if value is None:
        return None

    def factory() -> Any:
        from gcc.custom.own_code import generator_at

        return generator_at(value, None)

    return factory


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

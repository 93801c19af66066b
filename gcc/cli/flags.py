"""Messages of the library name keywords of Python in backticks; the command line shows the flags in their place."""

from __future__ import annotations

import dataclasses
import re
from functools import cache

import click

from gcc.cli.commands import Commands
from gcc.recipe import Recipe

KEYWORD = re.compile(r":\d+ `[^`]*`|`(?P<name>[A-Za-z_0-9]+)(?:=(?P<value>[^`]*))?`")
"""A line of code after the number of that line, or a keyword of a call, with or without its value."""
ITEM = re.compile(r"""["']([^"']*)["']: ["'](.*?)["'](?=, ["']|\})""")
"""A name and a value, which flags take as `NAME=FILE`."""
TRUTH = {"True": "true", "False": "false"}
"""Truth values of Python as TOML writes them."""


def with_flags(text: str) -> str:
    """Return a message with flags in place of keywords; a recipe field without a flag of its own becomes a `--set`.

    Other words and lines of code stay.

    >>> with_flags('leave out `batch_size`, or give `amp="bf16"`, `skip_bad=True` and `lr_g=1e-3`')
    'leave out --batch-size, or give --amp bf16, --skip-bad and --set lr_g=1e-3'
    >>> with_flags("layer 'up' in net.py:12 `size=self.up(size)`")
    "layer 'up' in net.py:12 `size=self.up(size)`"
    """
    return KEYWORD.sub(_flag, text)


def _flag(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    option = _options().get(name)
    if option is None:
        return f"--set {name}={_bare(value)}" if value is not None and name in _recipe_fields() else match[0]
    if value in TRUTH:
        flags = option.opts if value == "True" else option.secondary_opts
        return flags[0] if flags else match[0]
    if value is None:
        return option.opts[0]
    values = [f"{name}={file}" for name, file in ITEM.findall(value)] or [_bare(value)]
    return " ".join(f"{option.opts[0]} {text}" for text in values)


def _bare(value: str) -> str:
    """Return a value without its quotes, and truth values as TOML writes them."""
    return TRUTH[value] if value in TRUTH else value.strip("\"'")


def _recipe_fields() -> set[str]:
    """Return the fields of all recipes that are loaded, as those are that a message can name."""
    recipes: list[type[Recipe]] = [Recipe]
    for recipe in recipes:
        recipes += recipe.__subclasses__()
    return {field.name for recipe in recipes for field in dataclasses.fields(recipe)}


@cache
def _options() -> dict[str, click.Option]:
    """Return the options of all commands by their flags' words and by the keywords that they stand for, such as `sizes` for --size."""
    options = [option for command in Commands().values() for option in command.params if isinstance(option, click.Option)]
    by_word = {option.opts[0].removeprefix("--").replace("-", "_"): option for option in options}
    return {str(option.name): option for option in options} | by_word

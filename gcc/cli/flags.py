"""Messages of the library name keywords of Python in backticks; the command line shows the flags in their place."""

from __future__ import annotations

import re
from functools import cache

import click

KEYWORD = re.compile(r"`(?P<name>[a-z_]+)(?:=(?P<value>[^`]*))?`")
"""A keyword of a call, with or without its value."""
ITEM = re.compile(r"""\{["'](.*?)["']: ["'](.*)["']\}""")
"""A value with one name, which flags take as `NAME=FILE`."""


def with_flags(text: str) -> str:
    """Return a message with flags in place of keywords; a field without a flag of its own becomes a `--set`.

    >>> with_flags('leave out `batch_size`, or give `amp="bf16"`, `skip_bad=True` and `lr_g=1e-3`')
    'leave out --batch-size, or give --amp bf16, --skip-bad and --set lr_g=1e-3'
    """
    return KEYWORD.sub(_flag, text)


def _flag(match: re.Match[str]) -> str:
    name, value = match["name"], match["value"]
    option = _options().get(name)
    if value is None:
        return option.opts[0] if option else match[0]
    value = ITEM.sub(r"\1=\2", value).strip("\"'")
    if option is None:
        return f"--set {name}={value}"
    if value in ("True", "False"):
        return (option.opts if value == "True" else option.secondary_opts)[0]
    return f"{option.opts[0]} {value}"


@cache
def _options() -> dict[str, click.Option]:
    """Return the options of all commands by their flags' words and by the keywords that they stand for, such as `sizes` for --size."""
    from gcc.cli import Commands

    options = [option for command in Commands().values() for option in command.params if isinstance(option, click.Option)]
    by_word = {option.opts[0].removeprefix("--").replace("-", "_"): option for option in options}
    return {str(option.name): option for option in options} | by_word

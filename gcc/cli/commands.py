"""The commands by name; the module of each is imported when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from keyword import iskeyword

import click

COMMANDS = (
    *(
        "ablate",
        "bench",
        "compress",
        "demo",
        "doctor",
        "evaluate",
        "export",
        "generate",
        "help",
        "import",
        "inspect",
        "list",
        "plugin",
        "prune",
        "pull",
        "push",
    ),
    *("report", "sweep", "train", "translate", "version"),
)
"""The names of the commands; the script `scripts/gcc` lists them too. A module whose name would be a keyword ends with an underscore."""


class Commands(Mapping[str, click.Command]):
    """The commands by name, each imported when it is first used."""

    def __getitem__(self, name: str) -> click.Command:
        if name not in COMMANDS:
            raise KeyError(name)
        command: click.Command = import_module(f"gcc.cli.{name}_" if iskeyword(name) else f"gcc.cli.{name}").command
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(COMMANDS)

    def __len__(self) -> int:
        return len(COMMANDS)

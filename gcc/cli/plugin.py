"""`gcc plugin`."""

from __future__ import annotations

from pathlib import Path

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH


@click.group("plugin")
def command() -> None:
    """Write your own plugins."""


@command.command("new", cls=Command, example="gcc plugin new sharp --kind metric")
@click.argument("name")
@click.option(
    "--kind",
    type=click.Choice(["architecture", "metric", "selector"]),
    default="architecture",
    show_default=True,
    help="What the plugin adds.",
)
@click.option("--out", metavar="DIR", type=PATH, help="Folder of the distribution  [default: gcc-NAME]")
def new(name: str, kind: str, out: Path | None) -> None:
    """Write the skeleton of a plugin: a working distribution with its contract test."""
    from gcc.cli.templates import write_skeleton

    paths = write_skeleton(name, kind, out)
    for path in paths:
        click.echo(path)
    folder = paths[0].parent
    click.echo(f"install and test it: pip install -e '{folder}[test]' && pytest {folder}")

"""`gcc version`."""

from __future__ import annotations

import click

from gcc.cli.help_pages import Command


@click.command("version", cls=Command, example="gcc version")
def command() -> None:
    """Show the versions of this program, torch and Python."""
    import platform
    from importlib.metadata import version

    click.echo(f"gan-gcc {version('gan-gcc')}, torch {version('torch')}, Python {platform.python_version()}")

"""`gcc version`."""

from __future__ import annotations

import click


@click.command("version")
def command() -> None:
    """Show the versions of this program, torch and Python."""
    import platform
    from importlib.metadata import version

    click.echo(f"gan-gcc {version('gan-gcc')}, torch {version('torch')}, Python {platform.python_version()}")

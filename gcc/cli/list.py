"""`gcc list`."""

from __future__ import annotations

import click

from gcc.cli.help_pages import Command


@click.command("list", cls=Command, example="gcc list")
def command() -> None:
    """List every plugin of every registry."""
    from gcc.cli.tables import plugin_table, printer
    from gcc.registry import REGISTRIES

    console = printer()
    for registry in REGISTRIES:
        console.print(plugin_table(registry.kind, registry.listings()))

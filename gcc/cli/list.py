"""`gcc list`."""

from __future__ import annotations

import click


@click.command("list")
def command() -> None:
    """List every plugin of every registry."""
    from gcc.cli.tables import plugin_table, printer
    from gcc.registry import REGISTRIES

    console = printer()
    for registry in REGISTRIES:
        console.print(plugin_table(registry.kind, registry.listings()))

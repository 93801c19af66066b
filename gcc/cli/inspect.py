"""`gcc inspect`."""

from __future__ import annotations

from pathlib import Path

import click

from gcc.cli.options import parse_assignments


@click.command("inspect")
@click.argument("subject", metavar="ARCH|DIR")
@click.option("--size", type=int, metavar="N", help="Height and width of the training images, for an architecture.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any recipe field, for an architecture.")
def command(subject: str, size: int | None, assignments: tuple[str, ...]) -> None:
    """Show the layers, widths, channel groups and costs of an architecture or a saved generator."""
    from gcc.cli.inspection import inspect_architecture, inspect_saved
    from gcc.cli.tables import printer

    if Path(subject).exists() or Path(subject).name != subject:
        parts = inspect_saved(Path(subject))
    else:
        settings = parse_assignments(assignments)
        parts = inspect_architecture(subject, settings if size is None else settings | {"size": size})
    console = printer()
    for part in parts:
        console.print(part)

"""`gcc inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import generator_option
from gcc.cli.values import parse_assignments
from gcc.errors import GccError


@click.command("inspect", cls=Command, example="gcc inspect runs/pix2pix/student")
@click.argument("subject", metavar="ARCH|DIR")
@click.option("--size", type=int, metavar="N", help="Height and width of the training images, for an architecture.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set any recipe field, for an architecture.")
@generator_option
def command(subject: str, size: int | None, assignments: tuple[str, ...], factory: Any) -> None:
    """Show the layers, widths, channel groups and costs of an architecture or a saved generator.

    If a folder has the same name as an architecture, the name means the architecture; give the folder as ./NAME.
    """
    from gcc.cli.inspection import inspect_architecture, inspect_saved
    from gcc.cli.tables import printer
    from gcc.registry import ARCHITECTURES

    settings = parse_assignments(assignments) | ({} if size is None else {"size": size})
    is_path = Path(subject).name != subject or Path(subject).exists()
    if is_path and subject not in ARCHITECTURES.names():
        if settings:
            raise GccError(f"{subject} is a saved generator, whose recipe is fixed: leave out --size and --set")
        parts = inspect_saved(Path(subject), factory)
    else:
        parts = inspect_architecture(subject, settings)
    console = printer()
    for part in parts:
        console.print(part)

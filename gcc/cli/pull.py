"""`gcc pull`."""

from __future__ import annotations

from pathlib import Path

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH


@click.command("pull", cls=Command, example="gcc pull user/name --out student")
@click.argument("name", metavar="USER/NAME[@REVISION]")
@click.option("--out", metavar="DIR", type=PATH, help="Output folder  [default: NAME]")
def command(name: str, out: Path | None) -> None:
    """Download a student or teacher from the Hugging Face Hub to a folder."""
    from gcc.artifacts.sharing import pull

    click.echo(pull(name, out))

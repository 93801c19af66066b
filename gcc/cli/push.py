"""`gcc push`."""

from __future__ import annotations

from pathlib import Path

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH


@click.command("push", cls=Command, example="gcc push runs/pix2pix/student user/name --private")
@click.argument("folder", metavar="DIR", type=PATH)
@click.argument("repository", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="If the repository is new, make it private.")
def command(folder: Path, repository: str, private: bool) -> None:
    """Upload a saved student or teacher to the Hugging Face Hub, as hf://USER/NAME."""
    from gcc.artifacts.sharing import push

    click.echo(push(folder, repository, private=private))

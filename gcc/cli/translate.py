"""`gcc translate`."""

from __future__ import annotations

from pathlib import Path

import click

from gcc.cli.errors import notice
from gcc.cli.options import PATH, device_option, skip_bad_option
from gcc.errors import GccError


@click.command("translate")
@click.argument("student", type=PATH)
@click.argument("source", metavar="INPUT", type=PATH)
@click.argument("target", metavar="OUTPUT", type=PATH)
@click.option(
    "--size", type=click.IntRange(1, 16384), metavar="N", help="Height and width that images are resized to  [default: as trained]"
)
@device_option
@skip_bad_option
def command(student: Path, source: Path, target: Path, size: int | None, device: str, skip_bad: bool) -> None:
    """Run a saved generator on an image, or on every image in a folder."""
    from gcc.deploy.translate import translate

    def leave_out(error: GccError) -> None:
        if not skip_bad:
            raise GccError(f"{error} (--skip-bad leaves bad images out)") from error
        notice(f"left out: {error}")

    for path in translate(student, source, target, size=size, device=device, leave_out=leave_out):
        click.echo(path)

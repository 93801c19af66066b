"""`gcc translate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from gcc.cli.errors import notice
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, device_option, generator_option, skip_bad_option
from gcc.cli.values import parse_size


@click.command("translate", cls=Command, example="gcc translate runs/pix2pix/student photos translated")
@click.argument("student", type=PATH)
@click.argument("source", metavar="INPUT", type=PATH)
@click.argument("target", metavar="OUTPUT", type=PATH)
@click.option("--size", callback=parse_size, metavar="N|WxH", help="Size to which images are resized  [default: their own]")
@click.option("--keep-size", is_flag=True, help="Keep the size of each image (the default)")
@click.option(
    "--pairs/--no-pairs", default=None, help="Translate one half of each image if it holds A and B side by side  [default: as detected]"
)
@click.option("--range", metavar="LOW..HIGH", help="Values of black and white in files with more than 8 bits  [default: as in training]")
@generator_option
@device_option
@skip_bad_option
def command(
    student: Path,
    source: Path,
    target: Path,
    size: tuple[int, int] | None,
    keep_size: bool,
    pairs: bool | None,
    range: str | None,
    factory: Any,
    device: str,
    skip_bad: bool,
) -> None:
    """Run a saved generator on an image, or on every image in a folder and its subfolders.

    All images are read before the first one is written; if some cannot be used, the error names them, and nothing is written.
    """
    from gcc.data.image_files import refuse_bad
    from gcc.deploy.translate import translate

    if size and keep_size:
        raise click.UsageError("--size and --keep-size exclude each other")

    def report(reasons: Sequence[str]) -> None:
        for reason in reasons:
            notice(f"left out: {reason}")

    leave_out = report if skip_bad else refuse_bad
    for path in translate(
        student, source, target, size=size, device=device, pairs=pairs, range=range, factory=factory, leave_out=leave_out, inform=notice
    ):
        click.echo(path)

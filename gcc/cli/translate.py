"""`gcc translate`."""

from __future__ import annotations

from pathlib import Path

import click

from gcc.cli.errors import notice
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, device_option, skip_bad_option
from gcc.errors import GccError

LARGEST = 16384
"""Largest width and height."""


def parse_size(context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Return the width and the height of a size such as `640x480`, or `512` for both.

    Raises:
        click.BadParameter: the text is not a size, or one that is too large.
    """
    if value is None:
        return None
    width, cross, height = value.lower().partition("x")
    try:
        size = int(width), int(height if cross else width)
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a size: expected N or WxH, such as 512 or 640x480") from None
    if not all(0 < side <= LARGEST for side in size):
        raise click.BadParameter(f"{value!r}: expected a width and a height from 1 to {LARGEST}")
    return size


@click.command("translate", cls=Command, example="gcc translate runs/pix2pix/student photos translated")
@click.argument("student", type=PATH)
@click.argument("source", metavar="INPUT", type=PATH)
@click.argument("target", metavar="OUTPUT", type=PATH)
@click.option("--size", callback=parse_size, metavar="N|WxH", help="Width and height that images are resized to  [default: their own]")
@click.option("--keep-size", is_flag=True, help="Keep the size of each image, which is the default")
@click.option(
    "--pairs/--no-pairs", default=None, help="Translate one half of each image that holds A and B side by side  [default: as detected]"
)
@device_option
@skip_bad_option
def command(
    student: Path,
    source: Path,
    target: Path,
    size: tuple[int, int] | None,
    keep_size: bool,
    pairs: bool | None,
    device: str,
    skip_bad: bool,
) -> None:
    """Run a saved generator on an image, or on every image in a folder and its subfolders."""
    from gcc.deploy.translate import translate

    if size and keep_size:
        raise click.UsageError("--size and --keep-size exclude each other")

    def leave_out(error: GccError) -> None:
        if not skip_bad:
            raise GccError(f"{error} (--skip-bad leaves bad images out)") from error
        notice(f"left out: {error}")

    for path in translate(student, source, target, size=size, device=device, pairs=pairs, leave_out=leave_out, inform=notice):
        click.echo(path)

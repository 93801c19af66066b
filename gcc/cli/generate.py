"""`gcc generate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, device_option, generator_option


@click.command("generate", cls=Command, example="gcc generate runs/sagan/student --count 64 --seed 1")
@click.argument("student", type=PATH)
@click.option("--count", type=click.IntRange(1, 1_000_000), default=64, show_default=True, metavar="N", help="Number of images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N", help="Seed of the noise.")
@click.option("--out", metavar="DIR", type=PATH, help="Output folder  [default: generated, numbered]")
@click.option(
    "--format",
    "suffix",
    type=click.Choice(["png", "tif", "npy"]),
    callback=lambda context, parameter, value: f".{value}" if value else "",
    help="Format of the images; tif and npy hold float32 in the range of the training data  [default: png, npy if that does not fit]",
)
@generator_option
@device_option
def command(student: Path, count: int, seed: int, out: Path | None, suffix: str, factory: Any, device: str) -> None:
    """Generate images from noise with a saved generator, and a grid of them."""
    from gcc.deploy.generate import generate
    from gcc.utils.files import fresh_folder

    folder = out or fresh_folder(Path("generated"))
    for path in generate(student, folder, count=count, seed=seed, device=device, suffix=suffix, factory=factory):
        click.echo(path)

"""`gcc demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.errors import notice
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, calibration_option, generator_option, max_loss_option, precision_option


@click.command("demo", cls=Command, example="gcc demo runs/pix2pix/student --out site --ort-web package")
@click.argument("student", type=PATH)
@click.option("--out", metavar="DIR", type=PATH, required=True, help="Folder of the web site; it must be new or empty.")
@click.option(
    "--ort-web",
    metavar="DIR",
    type=PATH,
    default=Path("package"),
    help="The unpacked npm package: npm pack onnxruntime-web@1.30.0; tar xf *.tgz  [default: package]",
)
@precision_option
@calibration_option
@max_loss_option
@generator_option
def command(student: Path, out: Path, ort_web: Path, **options: Any) -> None:
    """Write a static web site that runs a saved generator in the browser."""
    from gcc.deploy.demo_site import write_demo_site

    write_demo_site(student, out, ort_web, report=notice, **options)
    click.echo(f"written to {out}; see it with: python -m http.server -d {out}")

"""`gcc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, generator_option


@click.command("export", cls=Command, example="gcc export runs/pix2pix/student --format onnx --out student.onnx")
@click.argument("student", type=PATH)
@click.option(
    "--format",
    type=click.Choice(["onnx", "torchscript", "pt2", "safetensors"]),
    default="onnx",
    show_default=True,
    help="File format; pt2 is torch.export's, and safetensors contains only the folded weights.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of weights and activations, for ONNX.",
)
@click.option("--calibration", metavar="DIR", type=PATH, help="Input images for fp16 and int8  [default: the run's data, or noise]")
@generator_option
@click.option("--out", metavar="FILE", type=PATH, help="Output file  [default: next to STUDENT, with its name]")
def command(student: Path, out: Path | None, **options: Any) -> None:
    """Export a saved generator to another format, optimised for inference, and compare it with PyTorch."""
    from gcc.cli.tables import facts_table, printer
    from gcc.deploy.export import export

    printer().print(facts_table(export(student, out, **options).facts()))

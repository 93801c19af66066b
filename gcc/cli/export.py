"""`gcc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, generator_option, parse_size


@click.command("export", cls=Command, example="gcc export runs/pix2pix/student --format onnx --out student.onnx")
@click.argument("student", type=PATH)
@click.option(
    "--format",
    default="onnx",
    show_default=True,
    metavar="NAME",
    help="onnx, openvino, ncnn, litert, coreml, torchscript, pt2 (torch.export's), safetensors (the folded weights), or a plugin's.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Precision of weights and activations; fp16 for onnx, openvino, ncnn and coreml, int8 for onnx.",
)
@click.option("--size", metavar="WxH", callback=parse_size, help="Size of images, for litert and coreml  [default: as trained]")
@click.option("--calibration", metavar="DIR", type=PATH, help="Input images for fp16 and int8  [default: the run's data, or noise]")
@generator_option
@click.option("--out", metavar="FILE", type=PATH, help="Output file  [default: next to STUDENT, with its name]")
def command(student: Path, out: Path | None, **options: Any) -> None:
    """Export a saved generator to another format, optimised for inference, and compare it with PyTorch."""
    from gcc.cli.tables import facts_table, printer
    from gcc.deploy.export import export

    printer().print(facts_table(export(student, out, **options).facts()))

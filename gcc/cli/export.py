"""`gcc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.errors import notice
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, calibration_option, generator_option, max_loss_option, precision_option
from gcc.cli.values import parse_size


@click.command("export", cls=Command, example="gcc export runs/pix2pix/student --format onnx --out student.onnx")
@click.argument("student", type=PATH)
@click.option(
    "--format",
    "--target",
    "format",
    default="onnx",
    show_default=True,
    metavar="NAME",
    help="onnx, openvino, ncnn, litert, coreml, torchscript, pt2 (torch.export's), safetensors (the folded weights), or a plugin's; "
    "litert-gpu or ncnn-vulkan for files whose layers a GPU has.",
)
@precision_option
@click.option(
    "--size",
    metavar="WxH",
    callback=parse_size,
    help="Size of images: the only one that a litert or coreml file takes; for other formats, the one that is timed  [default: as trained]",
)
@calibration_option
@max_loss_option
@generator_option
@click.option(
    "--out",
    metavar="FILE",
    type=PATH,
    help="Output file  [default: next to STUDENT, with its name, such as student.onnx or student.int8.onnx]",
)
def command(student: Path, out: Path | None, **options: Any) -> None:
    """Export a saved generator to another format, optimised for inference, and compare the file with PyTorch."""
    from gcc.cli.tables import facts_table, printer
    from gcc.deploy.export import export

    printer().print(facts_table(export(student, out, report=notice, **options).facts()))

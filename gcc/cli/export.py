"""`gcc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.errors import notice
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, generator_option, parse_size


def parse_decibels(context: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """Return a number of decibels, as a callback. None if the option is not given.

    Raises:
        click.BadParameter: the text is not a number.
    """
    try:
        return None if value is None else float(value.lower().removesuffix("db"))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a number of dB, such as 0.2dB") from None


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
@click.option("--calibration", metavar="DIR", type=PATH, help="Input images to measure on  [default: the run's data, or noise]")
@click.option(
    "--max-loss",
    metavar="DB",
    callback=parse_decibels,
    help="The most that fp16 or int8 may cost, such as 0.2dB.",
)
@generator_option
@click.option("--out", metavar="FILE", type=PATH, help="Output file  [default: next to STUDENT, with its name]")
def command(student: Path, out: Path | None, **options: Any) -> None:
    """Export a saved generator to another format, optimised for inference, and compare it with PyTorch."""
    from gcc.cli.tables import facts_table, printer
    from gcc.deploy.export import export

    printer().print(facts_table(export(student, out, report=notice, **options).facts()))

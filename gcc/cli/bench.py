"""`gcc bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.errors import notice
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, generator_option
from gcc.cli.values import parse_size
from gcc.errors import GccError

LARGEST = 1 << 16
"""The largest batch size."""


def parse_sizes(context: click.Context, parameter: click.Parameter, value: str | None) -> list[tuple[int, int]]:
    """Return comma-separated sizes, each a width and a height.

    Raises:
        click.BadParameter: one of them is not a size, or is too large.
    """
    sizes = (parse_size(context, parameter, part.strip()) for part in (value or "").split(",") if part.strip())
    return [size for size in sizes if size]


@click.command("bench", cls=Command, example="gcc bench runs/pix2pix/student --against runs/pix2pix/teacher --device cpu,onnxruntime")
@click.argument("student", type=PATH)
@click.option("--against", metavar="TEACHER", type=PATH, help="Another saved generator to compare with.")
@click.option("--batch-size", "batch_sizes", default="1", show_default=True, metavar="N,N", help="Samples per pass, comma-separated.")
@click.option("--size", "sizes", callback=parse_sizes, metavar="WxH,N", help="Image sizes, comma-separated  [default: as trained]")
@click.option(
    "--device",
    "devices",
    default="cpu",
    show_default=True,
    metavar="NAMES",
    help="Any of cpu, cuda, onnxruntime, openvino, ncnn, ncnn-vulkan, litert, litert-gpu, torchscript, pt2 and plugins, comma-separated.",
)
@generator_option
@click.option("--json", "out", metavar="FILE", type=PATH, help="Also write the timings to this file.")
def command(
    student: Path, against: Path | None, batch_sizes: str, sizes: list[tuple[int, int]], devices: str, factory: Any, out: Path | None
) -> None:
    """Measure latency, throughput and memory of a saved generator, optimised for inference."""
    from gcc.artifacts.comparison import spread_note
    from gcc.cli.tables import printer, timings_table
    from gcc.deploy.bench import bench, require_own_timings, rows, save_rows
    from gcc.evaluation.collection import split_names

    numbers = parse_numbers("--batch-size", batch_sizes)
    if out:
        require_own_timings(out)
    timings = rows([*bench(student, against, batch_sizes=numbers, sizes=sizes, runtimes=split_names(devices), factory=factory)])
    printer().print(timings_table(timings))
    if note := spread_note((timing["median_ms"], timing["p90_ms"]) for timing in timings):
        notice(f"{note}; measure again")
    if out:
        save_rows(out, timings)
        click.echo(f"timings saved in {out}")


def parse_numbers(flag: str, text: str) -> list[int]:
    """Return comma-separated whole numbers from 1 up.

    Raises:
        GccError: the text has another form; the message names the flag.

    >>> parse_numbers("--batch-size", "1, 4")
    [1, 4]
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= LARGEST for part in parts):
        raise GccError(f"{flag} {text!r}: expected comma-separated whole numbers from 1 to {LARGEST}, such as 1,4")
    return [int(part) for part in parts]

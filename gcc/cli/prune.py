"""`gcc prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, field_option, own_code_options, require_existing, with_options
from gcc.cli.settings import teacher_and_settings


@click.command("prune", cls=Command, example="gcc prune RealESRGAN_x4plus.pth --budget 50% --out pruned")
@click.argument("teacher", metavar="[FILE]", type=PATH, required=False)
@click.option(
    "--generator", metavar="MODULE:NAME", help="The class or function that returns the generator, if it is your own; FILE has its weights."
)
@with_options(own_code_options)
@click.option("--task", metavar="NAME", help="What the generator does; see `gcc list`  [default for a file alone: super-resolution]")
@field_option("size")
@field_option("budget")
@field_option("metric")
@field_option("round_to")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set any recipe field.")
@click.option("--out", metavar="DIR", type=PATH, required=True, help="Folder of the pruned generator.")
def command(
    teacher: Path | None,
    generator: str | None,
    task: str | None,
    size: str | None,
    budget: str | None,
    metric: str | None,
    round_to: int | None,
    assignments: tuple[str, ...],
    out: Path,
    **called: Any,
) -> None:
    """Prune a generator that belongs to no family, without training it: the student inherits the weights of the channels that are kept.

    FILE has the weights of a restoration network, such as a .pth file of Real-ESRGAN, or those of the generator that --generator returns.
    """
    if teacher is None and generator is None:
        raise click.UsageError("give a file of weights, or your own generator with --generator")
    if teacher is not None:
        require_existing(teacher, f"FILE {teacher}")
    from gcc.cli.tables import comparison_table, printer
    from gcc.training.prune_teacher import prune_teacher

    fields = {"size": size, "budget": budget, "metric": metric, "round_to": round_to}
    sources = {"arch": None, "teacher": teacher, "generator": generator, "task": task, "recipe": None, "assignments": assignments}
    loaded, settings = teacher_and_settings(fields | sources | called)
    measurements = prune_teacher(loaded, out, settings)
    printer().print(comparison_table("pruned, not trained", measurements))
    click.echo(f"student saved in {out}")

"""`gcc ablate`."""

from __future__ import annotations

from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import group_options, require_inputs, run_options, search_options
from gcc.cli.settings import run_arguments, teacher_and_settings


@click.command("ablate", cls=Command, example="gcc ablate --arch pix2pix --data datasets/facades --seeds 3")
@run_options
@search_options
@click.option("--presets", metavar="NAMES", default="", help="Variants to train, comma-separated  [default: all, from pruned-only to gcc]")
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, show_default=True, metavar="N", help="Number of runs of each variant.")
@group_options
def command(**options: Any) -> None:
    """Train the method without each of its parts, with the same widths, seeds and steps, and compare the results.

    If you run the command again, it continues with the first unfinished run.
    """
    require_inputs(options)
    from gcc.cli.run import options_of_group, train_group
    from gcc.cli.tables import ablation_table
    from gcc.evaluation.collection import split_names
    from gcc.experiments.ablation import Ablation

    options = options_of_group(options)
    teacher, settings = teacher_and_settings(options)
    ablation = Ablation(
        teacher, options["out"], split_names(options["presets"]), seeds=options["seeds"], **run_arguments(options), **settings
    )
    train_group(ablation, options, lambda: ablation_table(ablation.measurements().rows()))

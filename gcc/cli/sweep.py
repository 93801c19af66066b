"""`gcc sweep`."""

from __future__ import annotations

from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import group_options, require_inputs, run_options, sweep_options
from gcc.cli.settings import run_arguments, teacher_and_settings
from gcc.errors import GccError


@click.command("sweep", cls=Command, example="gcc sweep --arch pix2pix --data datasets/facades --budget 10% --budget 25% --budget 50%")
@run_options
@sweep_options
@group_options
def command(**options: Any) -> None:
    """Train one teacher and a student for each budget, and compare quality and cost.

    The teacher is trained once, or given with --teacher, and is frozen while the students train. With --set train_teacher=true, it trains
    along with every student, as in `gcc compress`. If you run the command again, it continues with the first unfinished run.
    """
    require_inputs(options)
    from gcc.cli.run import options_of_group, train_group
    from gcc.cli.tables import printer, sweep_tables
    from gcc.experiments.sweep import Sweep
    from gcc.report.sweep import read_sweep

    options = options_of_group(options)
    if not options["budgets"]:
        raise GccError("no budget: give one or more, such as --budget 10% --budget 25%")
    teacher, settings = teacher_and_settings({**options, "budget": options["budgets"][0]})
    # Named above because the counter and the width of a file belong to the file's budget.
    del settings["budget"]
    sweep = Sweep(teacher, options["out"], options["budgets"], **run_arguments(options), **settings)
    train_group(sweep, {**options, "budgets": tuple(sweep.budgets)}, lambda: sweep_tables(read_sweep(sweep.out), printer().width))

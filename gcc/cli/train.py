"""`gcc train`."""

from __future__ import annotations

from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import folder_options, require_inputs, run_options


@click.command("train", cls=Command, example="gcc train --arch pix2pix --data datasets/facades")
@run_options
@folder_options
def command(**options: Any) -> None:
    """Train only a teacher. The second step is to compress it: `gcc compress --teacher runs/pix2pix/teacher --budget 25%`.

    Without --data, it trains on demo data.
    """
    require_inputs(options)
    from gcc.cli.run import run_command
    from gcc.training.teacher_trainer import Trainer

    run_command(Trainer, options)

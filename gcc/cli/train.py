"""`gcc train`."""

from __future__ import annotations

from typing import Any

import click

from gcc.cli.options import folder_options, run_options


@click.command("train")
@run_options
@folder_options
def command(**options: Any) -> None:
    """Train only a teacher, to compress it later with `gcc compress --teacher`."""
    from gcc.cli.run import run_command
    from gcc.training.teacher_trainer import Trainer

    run_command(Trainer, options)

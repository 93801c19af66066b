"""`gcc compress`."""

from __future__ import annotations

from typing import Any

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import folder_options, require_inputs, run_options, search_options, student_options


@click.command("compress", cls=Command, example="gcc compress --arch pix2pix --data datasets/facades --direction BtoA --budget 25%")
@run_options
@folder_options
@search_options
@student_options
def command(**options: Any) -> None:
    """Compress a teacher's generators to a budget.

    Without --data, it runs on demo data, which takes a few minutes on a CPU.
    """
    require_inputs(options)
    from gcc.cli.run import run_command
    from gcc.compressor import Compressor

    run_command(Compressor, options)

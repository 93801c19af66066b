"""`gcc report`."""

from __future__ import annotations

from pathlib import Path

import click

from gcc.artifacts.run_folder import REPORT_FILE
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, require_existing


@click.command("report", cls=Command, example="gcc report runs/pix2pix runs/pix2pix-2 --out both.html")
@click.argument("runs", metavar="RUN...", type=PATH, nargs=-1, required=True)
@click.option("--out", metavar="FILE", type=PATH, help="Output page  [default: report.html in RUN; in the current folder for several runs]")
def command(runs: tuple[Path, ...], out: Path | None) -> None:
    """Rebuild the report of a run or a sweep, or compare several runs on one page.

    The report is a single HTML file that needs no network access.
    """
    for path in runs:
        require_existing(path, f"RUN {path}")
    from gcc.report.html import save_report
    from gcc.report.sweep import is_sweep, read_sweep, save_sweep_report

    first, *others = runs
    if is_sweep(first) and not others:
        click.echo(save_sweep_report(out or first / REPORT_FILE, read_sweep(first)))
    else:
        click.echo(save_report(runs, out))

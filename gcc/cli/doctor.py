"""`gcc doctor`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from gcc.cli.flags import with_flags
from gcc.cli.help_pages import Command
from gcc.cli.options import run_options, search_options, student_options
from gcc.cli.settings import report_overridden_fields, run_arguments, set_by_user, teacher_and_settings
from gcc.cli.wrapping import terminal_width, wrapped

if TYPE_CHECKING:
    from gcc.cli.installation import Finding

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}
"""Colours of a finding's status."""
OF_MACHINE = {"device", "amp"}
"""The options that are checked without a run."""


@click.command("doctor", cls=Command, example="gcc doctor --arch pix2pix --data datasets/facades --budget 25%")
@run_options
@search_options
@student_options
def command(**options: Any) -> None:
    """Check whether a compression can run: installation, device, data, weights, budget, memory and disk.

    It accepts the arguments of `gcc compress`, except those for checkpoints and resuming, and trains nothing. It prints one line per check,
    with a fix for each problem, and exits with code 1 if it finds an error. Without arguments, it checks only the machine.
    """
    from gcc.cli.installation import installation

    passed = print_findings(installation())
    if passed:
        from gcc.cli.preflight import machine, preflight

        passed = print_findings(machine(options["device"], options["amp"]))
        if set_by_user(options) - OF_MACHINE:
            teacher, settings = teacher_and_settings(options)
            report_overridden_fields(options)
            arguments = run_arguments(options | {"dry_run": True})
            passed = print_findings(preflight(teacher, settings, out=options["out"], **arguments)) and passed
    click.get_current_context().exit(0 if passed else 1)


def print_findings(findings: Iterable[Finding]) -> bool:
    """Print each finding as soon as it is known, and return whether none of them is an error."""
    passed = True
    for finding in findings:
        status = click.style(f"{finding.status:8}", fg=COLOURS[finding.status])
        click.echo(f"{status} {finding.title:12}{wrapped(with_flags(finding.text), terminal_width())}")
        passed = passed and finding.status != "error"
    return passed

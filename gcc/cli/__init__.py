"""The command line. Each command parses, calls and prints in a module with its name.

A command's module is imported when the command is used, and torch when the command runs, so that `--help` appears at once.
`run` starts and resumes runs and groups of runs; `installation` and `preflight` make the checks that `doctor` prints.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from typing import Any, cast

import click

from gcc.cli.commands import COMMANDS, Commands
from gcc.cli.errors import errors_as_lines, warnings_as_lines
from gcc.cli.options import with_current_names
from gcc.cli.sigint import exit_on_sigint_during_import
from gcc.cli.stderr import tolerate_broken_stderr
from gcc.errors import GccError, suggestion

LAUNCHER = "GAN_GCC_LAUNCHER"
"""The environment variable in which the script `scripts/gcc` passes the name that it was called by."""


class Program(click.Group):
    """A group that reports a `GccError` in one line on standard error, and understands the flags of version 0.1.

    It calls itself as the launcher was called, and prints no colours if `NO_COLOR` is set.
    """

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> Any:  # type: ignore[override]
        launcher = os.environ.pop(LAUNCHER, None)
        return super().main(args, prog_name or launcher, **extra)

    def make_context(self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any) -> click.Context:
        if os.environ.get("NO_COLOR"):
            extra["color"] = False
        with errors_as_lines():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with tolerate_broken_stderr(), exit_on_sigint_during_import(), errors_as_lines(), warnings_as_lines():
            return super().invoke(ctx)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise GccError(f"there is no command {args[0]!r}{suggestion(args[0], COMMANDS)}")
        name, command, arguments = super().resolve_command(ctx, args)
        return name, command, with_current_names(command, arguments) if command else arguments


def _show_version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Do what the command `version` does. `gcc --version` asks the compiler, so this is for `gancc` and `python -m gcc`."""
    if value and not ctx.resilient_parsing:
        ctx.invoke(Commands()["version"])
        ctx.exit()


@click.group(
    cls=Program,
    commands=cast(MutableMapping[str, click.Command], Commands()),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Example: gcc compress --arch pix2pix --budget 25%",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the versions and exit; `gcc --version` shows those of the compiler, so use `gcc version`.",
)
def main() -> None:
    """Compress GAN generators to a budget (GCC, NeurIPS 2021).

    The command `gcc` runs the commands below and passes everything else on to the C compiler of the same name. `gancc` always runs this
    program.
    """

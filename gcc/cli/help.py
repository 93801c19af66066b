"""`gcc help`."""

from __future__ import annotations

import click

from gcc.cli.help_pages import Command
from gcc.errors import GccError, suggestion


@click.command("help", cls=Command, example="gcc help compress")
@click.argument("name", metavar="[COMMAND]", required=False)
@click.pass_context
def command(ctx: click.Context, name: str | None) -> None:
    """Show the commands, or the options of one."""
    program = ctx.find_root()
    if name is None:
        click.echo(program.get_help())
        return
    assert isinstance(program.command, click.Group)
    chosen = program.command.get_command(program, name)
    if chosen is None:
        raise GccError(f"there is no command {name!r}{suggestion(name, program.command.commands)}")
    with click.Context(chosen, info_name=name, parent=program) as context:
        click.echo(context.get_help())

"""What a command reports on standard error: each error and each renamed thing in one line, with flags in place of keywords."""

from __future__ import annotations

import errno
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import click

from gcc.cli.flags import with_flags
from gcc.cli.pix2pix_flags import described
from gcc.errors import LINE, GccError, Interrupted, PruningWarning

STOPPED = 130
"""Exit code after Ctrl-C, as shells define it."""
RENAMED = ".* is now called "
"""How the warnings begin that name the present name of something."""


@contextmanager
def errors_as_lines() -> Iterator[None]:
    """Report an error in one line on standard error, a wrong use of a command in two, and end with its exit code.

    Errors of the user, the machine and the file system are reported; programming errors keep their traceback.

    Raises:
        click.exceptions.Exit: the error was reported.
    """
    try:
        yield
    except Interrupted as error:
        notice(printable(str(error)))
        raise click.exceptions.Exit(error.exit_code) from error
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        click.echo(f"gcc: error: {printable(described(error))}", err=True)
        if error.ctx:
            click.echo(f"gcc: see {error.ctx.command_path} --help", err=True)
        raise click.exceptions.Exit(error.exit_code) from error
    except GccError as error:
        rank = "" if is_main_process() else f" in process {os.environ['RANK']}"
        click.echo(f"gcc: error{rank}: {printable(with_flags(str(error)))}", err=True)
        raise click.exceptions.Exit(error.exit_code) from error
    except OSError as error:
        # For example, standard output on a full disk. Errors about the files of a run are `OutputError`s.
        if error.errno == errno.EPIPE:
            raise
        click.echo(f"gcc: error: {error}", err=True)
        raise click.exceptions.Exit(GccError.exit_code) from error
    except KeyboardInterrupt as error:
        click.echo("gcc: stopped", err=True)
        raise click.exceptions.Exit(STOPPED) from error
    except (click.exceptions.Exit, click.Abort):
        # Click ends a program with these, which are runtime errors too.
        raise
    except (MemoryError, RuntimeError) as error:
        from gcc.utils.backend import is_out_of_memory

        if not is_out_of_memory(error):
            raise
        # Training reports this itself, with more advice.
        click.echo("gcc: error: out of memory: process fewer or smaller images at a time, or close other programs", err=True)
        raise click.exceptions.Exit(GccError.exit_code) from error


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Print each warning about an old name or a narrow layer once, as one line without its file.

    Those of Pillow, for example about damaged EXIF data in an intact image, need no action from the user and are not printed. Other
    warnings stay as they are.
    """
    printed: set[str] = set()

    with warnings.catch_warnings():
        show = warnings.showwarning

        def print_once(
            message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
        ) -> Any:
            text = str(message)
            is_renamed = re.match(RENAMED, text)
            if not (is_renamed or issubclass(category, PruningWarning)):
                return show(message, category, filename, lineno, file, line)
            if is_renamed and (plugin := _plugin_of(filename)):
                text = f"{text} (in the plugin {plugin})"
            if text not in printed:
                printed.add(text)
                notice(text)

        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.filterwarnings("always", RENAMED)
        warnings.filterwarnings("always", category=PruningWarning)
        warnings.showwarning = print_once
        yield


def _plugin_of(filename: str) -> str | None:
    """Return the name and version of the distribution whose plugin has this file; None for a file of ours or of the user."""
    from gcc.registry import REGISTRIES

    modules = (name for name, module in list(sys.modules.items()) if getattr(module, "__file__", None) == filename)
    package = next(modules, "").partition(".")[0]
    owners = (registry.owner_of(package) for registry in REGISTRIES)
    return next(filter(None, owners), None) if package != "gcc" else None


def notice(text: str) -> None:
    """Print a line on standard error; if several processes run the command, only the main process does."""
    if is_main_process():
        click.echo(f"gcc: {with_flags(text)}", err=True)


def printable(text: str) -> str:
    """Return a text with its control characters escaped, because a crafted file name could contain terminal escape sequences.

    The lines of a message stay: all but the first are indented.
    """
    return LINE.join(
        "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)
        for line in text.split(LINE)
    )


def is_main_process() -> bool:
    """Return whether this is the main process of those that `torchrun` has started."""
    return os.environ.get("RANK", "0") == "0"

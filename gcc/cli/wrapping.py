"""Wraps text to the width of the terminal."""

from __future__ import annotations

import shutil
import sys
import textwrap
from functools import partial

NARROW = 60
"""Columns of a terminal below which tables that do not fit become lines, and texts go below their titles."""
INDENT = 22
"""Columns that a finding's status and title take."""


def terminal_width() -> int | None:
    """Return the columns of the terminal; None if standard output is not one, so that `grep` finds whole lines."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def wrapped(text: str, width: int | None) -> str:
    """Return a finding's text next to its title, wrapped to a width, or on a narrow terminal below it."""
    if width is None or INDENT + len(text) <= width:
        return f" {text}"
    is_narrow = width < NARROW
    indent = " " * (2 if is_narrow else INDENT)
    wrap = partial(textwrap.wrap, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    lines = [part for line in text.splitlines() for part in wrap(line, width)]
    return "\n" + "\n".join(lines) if is_narrow else "\n".join(lines).removeprefix(" " * (INDENT - 1))

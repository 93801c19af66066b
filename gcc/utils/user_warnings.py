"""Warnings that point to the user's line of code."""

from __future__ import annotations

import sys
import warnings

TRANSPARENT = ("gcc", "contextlib", "functools")
"""Packages whose frames lie between a user's line of code and a warning about it."""


def warn_user(message: str, category: type[Warning]) -> None:
    """Warn of the innermost line of code that is not part of this package, such as the line of a user's script or of a plugin."""
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in TRANSPARENT:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)

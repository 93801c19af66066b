"""The one exception tree: every error that a user can cause is a `GccError`.

Each message says what was given, what was expected and what to do; the command line prints it as one line and exits with code 2.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class GccError(Exception):
    """Something that the user gave, or that the machine lacks, stops the work.

    Attributes:
        exit_code: of the command line.
    """

    exit_code = 2


class RecipeError(GccError):
    """A recipe field is unknown, of the wrong type or out of range."""


class PluginError(GccError):
    """A plugin is unknown, cannot be imported, or does not fulfil its contract.

    Attributes:
        verdict: what is wrong, in a word or two.
    """

    status = "broken"


class ClashError(PluginError):
    """Two distributions claim one plugin's name."""

    status = "clashing"


class ContractError(PluginError):
    """A plugin is made for another version of its contract."""

    status = "of another contract"


class DataError(GccError):
    """A data folder or an image cannot be used."""


class BudgetError(GccError):
    """A budget cannot be read or cannot be reached."""


class ArtifactError(GccError):
    """A saved model is damaged, foreign, or does not fit its architecture."""


class OutputError(GccError):
    """An output folder cannot be written, or holds something that must not be lost."""


class RunError(GccError):
    """A run's folder is missing, damaged or foreign."""


class TrainingError(GccError):
    """Training cannot go on."""


class Interrupted(GccError):
    """A signal has asked the run to stop.

    Args:
        message: where it goes on.
        number: of the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def near(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known names near to `name`, else every known name."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    if close:
        return f" (did you mean {' or '.join(repr(c) for c in close)}?)"
    return f" (known: {', '.join(known)})" if known else " (none is known)"

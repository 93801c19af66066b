"""Exceptions: every error that a user can cause is a `GccError`.

Each message says what was given, what was expected and what to do. The command line prints it and exits with code 2. It is
one line unless it has a list.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Sequence
from typing import Any


class GccError(Exception):
    """The user's input or the state of the machine prevents the work.

    Attributes:
        exit_code: exit code of the command line.
    """

    exit_code = 2


class PruningWarning(UserWarning):
    """Pruning left a layer few of its channels, removed a level, or changed a number that code computes from a width."""


class RecipeWarning(UserWarning):
    """A part of the method does nothing in a run of this length with these numbers."""


class CollapseWarning(UserWarning):
    """Training shows a sign of collapse."""


class OutputWarning(UserWarning):
    """Files in the way of new ones were moved."""


class RecipeError(GccError):
    """A recipe field is unknown, of the wrong type or out of range."""


class PluginError(GccError):
    """A plugin is unknown, cannot be imported, or does not fulfil its contract.

    Attributes:
        status: the problem in a word or two, for `gcc list`.
    """

    status = "broken"


class ClashError(PluginError):
    """Two distributions claim the same plugin name."""

    status = "clashing"


class ContractError(PluginError):
    """A plugin is for another version of its contract."""

    status = "of another contract"


class DataError(GccError):
    """A data folder or an image cannot be used."""


class BudgetError(GccError):
    """A budget is malformed or out of reach."""


class ArtifactError(GccError):
    """A saved model is damaged, of another program, or does not fit its architecture."""


class OutputError(GccError):
    """An output folder cannot be written, or contains something that must not be overwritten."""


class RunError(GccError):
    """A run's folder is missing, damaged or of another program."""


class TrainingError(GccError):
    """Training cannot continue."""


class CaptureError(GccError):
    """A training step cannot be captured as a CUDA graph."""


class Interrupted(GccError):
    """A signal stops the run.

    Args:
        message: says how to resume the run.
        number: number of the signal.
    """

    def __init__(self, message: str, number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + number


def first_line(error: BaseException) -> str:
    r"""Return the first line of an error's message.

    >>> first_line(ValueError("too long\nat line 3"))
    'too long'
    """
    return str(error).strip().partition("\n")[0]


LINE = "\n  "
"""Separates the lines of a message that lists what is expected."""
LISTED = 10
"""Images and other items that a message lists with their reasons."""


def abridged(texts: Iterable[str], most: int = 4, separator: str = ", ") -> str:
    """Return the first texts in one line, and how many others there are.

    >>> abridged("abcdef")
    'a, b, c, d, and 2 more'
    """
    all_texts = list(texts)
    others = len(all_texts) - most
    return separator.join([*all_texts[:most], *([f"and {others} more"] if others > 0 else [])])


def listed(texts: Sequence[str]) -> str:
    """Return the first texts of many, and how many more there are; what several say after a colon is said once.

    >>> listed([f"{number}.png is empty" for number in range(12)])[-42:]
    '8.png is empty; 9.png is empty; and 2 more'
    >>> listed(["1.png is empty: remove it", "2.png is small: enlarge it", "3.png is empty: remove it"])
    '1.png is empty, 3.png is empty: remove it; 2.png is small: enlarge it'
    """
    subjects: dict[str, list[str]] = {}
    for text in texts[:LISTED]:
        subject, colon, rest = text.partition(": ")
        subjects.setdefault(colon + rest or text, []).append(subject)
    parts = [", ".join(same) + (end if end.startswith(": ") else "") for end, same in subjects.items()]
    return abridged([*parts, *texts[LISTED:]], len(parts), "; ")


SYNONYMS = {"gpu": "cuda", "nvidia": "cuda", "rocm": "cuda"}
"""Present names by other words for the same thing, which they do not resemble."""


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known names that are similar to `name`, else a list of all known names."""
    known = sorted(known)
    synonym = SYNONYMS.get(name.lower().partition(":")[0])
    if synonym in known:
        return f" (did you mean {synonym!r}?)"
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.65)
    if close:
        return f" (did you mean {' or '.join(repr(match) for match in close)}?)"
    return f" (known: {', '.join(known)})" if known else " (there are none)"


def budget_suggestion(value: object) -> str:
    """Return `` (did you mean '25%'?)`` for a number where a budget is expected as text; empty for other values.

    Numbers up to 1 are parts of 1, those up to 100 are percentages, and those from a million on are MACs.

    >>> budget_suggestion(0.25), budget_suggestion(25), budget_suggestion(1e9)
    (" (did you mean '25%'?)", " (did you mean '25%'?)", " (did you mean '1000M'?)")
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    if 0 < value <= 100:
        return f" (did you mean '{100 * value if value <= 1 else value:g}%'?)"
    return f" (did you mean '{value / 1e6:.0f}M'?)" if 1e6 <= value < 1e15 else ""


def __getattr__(name: str) -> Any:
    if name != "near":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("gcc.errors.near is now called suggestion", DeprecationWarning, stacklevel=2)
    return suggestion

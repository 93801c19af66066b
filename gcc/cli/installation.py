"""What is installed, beside what gan-gcc asks for; nothing heavy is imported that might be broken."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Literal

Status = Literal["ok", "warning", "error"]
DISTRIBUTION = "gan-gcc"
REQUIREMENT = re.compile(r"([\w.-]+)(?:>=([\d.]+))?")
"""A requirement of ours: a package, and the oldest version that will do."""
TESTED = "Programming Language :: Python :: 3."


@dataclass(frozen=True)
class Finding:
    """A line of what `gcc doctor` reports.

    Attributes:
        title: what was looked at.
        verdict: `ok`, `warning` where work can go on, or `error` where it cannot.
        text: what was found, and what to do about it.
    """

    title: str
    status: Status
    text: str


def installation() -> Iterator[Finding]:
    """Yield what is to be said of Python and of every package that gan-gcc cannot do without."""
    yield python()
    for requirement in requires(DISTRIBUTION) or []:
        named = REQUIREMENT.fullmatch(requirement)
        # Those of extras go on with a condition.
        if named:
            yield package(named[1], named[2] or "0")


def python() -> Finding:
    """Return whether gan-gcc is tested on this Python."""
    told = metadata(DISTRIBUTION)
    tested = [line.rpartition(" ")[2] for line in told.get_all("Classifier", []) if line.startswith(TESTED)]
    here = platform.python_version()
    if here.rpartition(".")[0] in tested:
        return Finding("Python", "ok", here)
    return Finding("Python", "warning", f"{here}: tested on {' and '.join(tested)}; should anything fail, use one of these")


def package(name: str, oldest: str) -> Finding:
    """Return whether a package is there, recent enough, and can be imported.

    Args:
        name: of the distribution and of the module in it.
        oldest: the oldest version that will do.
    """
    try:
        here = version(name)
    except PackageNotFoundError:
        return Finding(name, "error", f"not installed: pip install '{name}>={oldest}'")
    if _ordered(here) < _ordered(oldest):
        return Finding(name, "error", f"{here}, and {oldest} or newer is needed: pip install --upgrade {name}")
    try:
        import_module(name)
    except Exception as error:  # Broken builds fail with exceptions of every type.
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        return Finding(name, "error", f"{here} cannot be imported ({reason}): pip install --force-reinstall torch torchvision {name}")
    return Finding(name, "ok", here)


def _ordered(numbers: str) -> list[int]:
    """Return a version as numbers that compare, without what follows them, such as `+cpu`.

    >>> _ordered("2.14.1+cu130") > _ordered("2.9")
    True
    """
    return [int(number) for number in re.findall(r"\d+", numbers.partition("+")[0])]

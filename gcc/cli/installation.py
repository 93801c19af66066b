"""Checks of the installation: Python and the required packages, which are imported only when they are checked."""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata, requires, version
from typing import Literal

from gcc.errors import first_line

Status = Literal["ok", "warning", "error"]
DISTRIBUTION = "gan-gcc"
REQUIREMENT = re.compile(r"([\w.-]+)(?:>=([\d.]+))?")
"""A requirement of gan-gcc: a package, and its oldest supported version."""
TESTED = "Programming Language :: Python :: 3."
"""How the classifiers of the tested Python versions begin."""


@dataclass(frozen=True)
class Finding:
    """The result of one check of `gcc doctor`, printed as a line.

    Attributes:
        title: what was checked.
        status: `ok`, `warning` if a run is possible, or `error` if it is not.
        text: the result, and a fix if there is a problem.
    """

    title: str
    status: Status
    text: str


def installation() -> Iterator[Finding]:
    """Yield findings about Python and every required package."""
    yield python()
    for requirement in requires(DISTRIBUTION) or []:
        # The requirements of extras end with a condition and do not match.
        if match := REQUIREMENT.fullmatch(requirement):
            yield package(match[1], match[2] or "0")


def python() -> Finding:
    """Check whether gan-gcc is tested on this version of Python."""
    classifiers = metadata(DISTRIBUTION).get_all("Classifier", [])
    tested = [classifier.rpartition(" ")[2] for classifier in classifiers if classifier.startswith(TESTED)]
    current = platform.python_version()
    if current.rpartition(".")[0] in tested:
        return Finding("Python", "ok", current)
    return Finding("Python", "warning", f"{current}: not tested; if anything fails, use Python {' or '.join(tested)}")


def package(name: str, oldest: str) -> Finding:
    """Check whether a package is installed, recent enough, and can be imported.

    Args:
        name: of the distribution and its module.
        oldest: the oldest supported version.
    """
    try:
        installed = version(name)
    except PackageNotFoundError:
        return Finding(name, "error", f"not installed: pip install '{name}>={oldest}'")
    if version_key(installed) < version_key(oldest):
        return Finding(name, "error", f"{installed}, but {oldest} or newer is needed: pip install --upgrade {name}")
    try:
        import_module(name)
    except Exception as error:  # Broken builds raise exceptions of any type.
        reason = f"{type(error).__name__}: {first_line(error)}"
        return Finding(name, "error", f"{installed} cannot be imported ({reason}): pip install --force-reinstall torch torchvision {name}")
    return Finding(name, "ok", installed)


def version_key(text: str) -> list[int]:
    """Return the numbers of a version, for comparisons, without a local suffix such as `+cpu`.

    >>> version_key("2.14.1+cu130") > version_key("2.9")
    True
    """
    return [int(number) for number in re.findall(r"\d+", text.partition("+")[0])]

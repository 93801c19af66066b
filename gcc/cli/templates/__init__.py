"""Skeletons of plugins: complete distributions that work as they are, for authors to replace the content."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcc.errors import PluginError
from gcc.registry import ARCHITECTURES, METRICS, SELECTORS, Registry
from gcc.utils.files import require_empty, write_text
from gcc.utils.templates import render

KINDS: Mapping[str, Registry[Any]] = {"architecture": ARCHITECTURES, "metric": METRICS, "selector": SELECTORS}
"""The registries that have a skeleton, by the kind's name on the command line."""
PATTERN = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PREFIX = "gcc-"
"""The start of a distribution's name, which distinguishes it from other distributions."""


def write_skeleton(name: str, kind: str, folder: Path | None = None) -> list[Path]:
    """Write a distribution with one plugin, and return the paths of its files.

    Args:
        name: the name that the plugin will be registered under, such as "my-gan".
        kind: one of `KINDS`.
        folder: the folder to write to; None for a folder with the distribution's name, which is "gcc-" and the plugin's name.

    Raises:
        PluginError: the name is not valid, or belongs to an installed plugin.
        OutputError: the folder is not empty, or cannot be written.
    """
    name = name.removeprefix(PREFIX)
    if not PATTERN.fullmatch(name):
        raise PluginError(f"plugin {name!r}: expected small letters and digits, joined by hyphens, such as my-{kind}")
    registry = KINDS[kind]
    if name in registry.names():
        raise PluginError(f"{kind} {name!r} is installed already, and two plugins of one name clash: choose another name")
    distribution = PREFIX + name
    module = distribution.replace("-", "_")
    stem = "".join(part.capitalize() for part in name.split("-"))
    words = {"name": name, "distribution": distribution, "module": module, "stem": stem, "kind": kind, "group": registry.group}
    if keyword.iskeyword(stem) or re.search(rf"\b{stem}\b", render("gcc.cli", f"{kind}/plugin.py.j2", **words | {"stem": ""})):
        raise PluginError(f"{kind} {name!r}: its class would be called {stem}, and that name is taken: choose another name")
    folder = folder or Path(distribution)
    require_empty(folder)
    templates = {
        folder / "pyproject.toml": "pyproject.toml.j2",
        folder / "README.md": f"{kind}/README.md.j2",
        folder / "src" / module / "__init__.py": f"{kind}/plugin.py.j2",
        folder / "tests" / f"test_{name.replace('-', '_')}.py": f"{kind}/test.py.j2",
    }
    for path, template in templates.items():
        write_text(path, render("gcc.cli", template, **words))
    return list(templates)

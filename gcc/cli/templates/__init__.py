"""Skeletons of plugins: distributions that work as they are written, to be filled with something of one's own."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from gcc.errors import PluginError
from gcc.registry import ARCHITECTURES, METRICS, SELECTORS, Registry
from gcc.utils.files import require_empty, write_text

KINDS: Mapping[str, Registry[Any]] = {"architecture": ARCHITECTURES, "metric": METRICS, "selector": SELECTORS}
"""The registries that there are skeletons for, by what the command line calls them."""
PATTERN = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
PREFIX = "gcc-"
"""What a distribution's name begins with, so that it can be told from others."""


def write_skeleton(name: str, kind: str, folder: Path | None = None) -> list[Path]:
    """Write a distribution with one plugin, and return the paths of its files.

    Args:
        name: under which the plugin is registered, such as "my-gan".
        kind: of `KINDS`.
        folder: where it goes; none for a folder of the distribution's name, which is the plugin's with "gcc-" before it.

    Raises:
        PluginError: the name cannot be one, or belongs to an installed plugin.
        OutputError: the folder holds something, or cannot be written.
    """
    name = name.removeprefix(PREFIX)
    if not PATTERN.fullmatch(name):
        raise PluginError(f"plugin {name!r}: expected small letters and digits, joined by hyphens, such as my-{kind}")
    registry = KINDS[kind]
    if name in registry.names():
        raise PluginError(f"{kind} {name!r} is installed already, and two of one name clash: choose another name")
    stem = "".join(part.capitalize() for part in name.split("-"))
    if keyword.iskeyword(stem) or re.search(rf"\b{stem}\b", _template(f"{kind}/plugin.py").template):
        raise PluginError(f"{kind} {name!r}: its class would be called {stem}, and that name is taken: choose another name")
    distribution = PREFIX + name
    folder = folder or Path(distribution)
    require_empty(folder)
    module = distribution.replace("-", "_")
    words = {
        "name": name,
        "distribution": distribution,
        "module": module,
        "stem": stem,
        "kind": kind,
        "group": registry.group,
    }
    places = {
        folder / "pyproject.toml": "pyproject.toml",
        folder / "README.md": f"{kind}/README.md",
        folder / "src" / module / "__init__.py": f"{kind}/plugin.py",
        folder / "tests" / f"test_{name.replace('-', '_')}.py": f"{kind}/test.py",
    }
    for place, template in places.items():
        write_text(place, _template(template).substitute(words))
    return list(places)


def _template(name: str) -> Template:
    return Template((files(__name__) / f"{name}.template").read_text(encoding="utf-8"))

"""A lazy registry over one entry-point group."""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar, cast

from gcc.errors import PluginError, near

T = TypeVar("T")


@dataclass(frozen=True)
class Listing:
    """One line of `gcc list`: a plugin that works, or the reason why it does not."""

    name: str
    distribution: str
    version: str
    summary: str
    broken: str | None = None


class Registry(Generic[T]):
    """The plugins of one kind, found through the entry-point group `group`.

    Built-in plugins are entry points of this distribution and have no privilege. Nothing is imported before `load`; the contract is checked
    then, so a broken plugin breaks only itself. Two distributions that claim one name are both named and neither wins.

    Args:
        kind: what a user calls such a plugin, such as "architecture".
        group: the entry-point group, such as "gcc.architectures".
        check: raises `PluginError` or returns None; called with a freshly imported plugin.
    """

    def __init__(self, kind: str, group: str, check: Callable[[Any], None]) -> None:
        self.kind = kind
        self.group = group
        self._check = check
        self._loaded: dict[str, T] = {}

    @cached_property
    def _entries(self) -> dict[str, list[importlib.metadata.EntryPoint]]:
        entries: dict[str, list[importlib.metadata.EntryPoint]] = defaultdict(list)
        for entry in importlib.metadata.entry_points(group=self.group):
            if all(_owner(entry) != _owner(other) or entry.value != other.value for other in entries[entry.name]):
                entries[entry.name].append(entry)
        return dict(entries)

    def names(self) -> list[str]:
        """Return every registered name, sorted; nothing is imported."""
        return sorted(self._entries)

    def load(self, name: str) -> T:
        """Import the plugin `name`, check its contract and return it.

        Raises:
            PluginError: the name is unknown or claimed twice, or the plugin cannot be imported or breaks its contract.
        """
        if name not in self._loaded:
            entry = self._entry(name)
            try:
                plugin = entry.load()
                self._check(plugin)
            except Exception as error:
                reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
                raise PluginError(f"{self.kind} {name!r} of {_owner(entry)} does not work: {reason}") from error
            self._loaded[name] = cast(T, plugin)
        return self._loaded[name]

    def listings(self) -> Iterator[Listing]:
        """Yield a line for every plugin, broken ones with their reason."""
        for name in self.names():
            claims = self._entries[name]
            for entry in claims:
                distribution, version = _distribution(entry)
                try:
                    plugin = self.load(name)
                except PluginError as error:
                    yield Listing(name, distribution, version, "", broken=str(error))
                else:
                    summary = (getattr(plugin, "__doc__", None) or "").strip().partition("\n")[0]
                    yield Listing(name, distribution, version, summary)

    def _entry(self, name: str) -> importlib.metadata.EntryPoint:
        if name not in self._entries:
            raise PluginError(f"unknown {self.kind} {name!r}{near(name, self.names())}")
        first, *others = self._entries[name]
        if others:
            owners = " and ".join(_owner(entry) for entry in (first, *others))
            raise PluginError(f"{self.kind} {name!r} is claimed by {owners}: uninstall all but one")
        return first


def _distribution(entry: importlib.metadata.EntryPoint) -> tuple[str, str]:
    try:
        name, version = (entry.dist.name, entry.dist.version) if entry.dist else (None, None)
    except Exception:  # An interrupted uninstall leaves metadata that cannot be read; how that fails depends on Python's version.
        name, version = None, None
    return name or "an unknown distribution", version or "of unknown version"


def _owner(entry: importlib.metadata.EntryPoint) -> str:
    return " ".join(_distribution(entry))

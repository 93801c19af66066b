"""A lazy registry over one kind of entry point."""

from __future__ import annotations

import importlib.metadata
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast

from gcc.errors import ClashError, ContractError, PluginError, suggestion
from gcc.utils.user_warnings import warn_user

T = TypeVar("T")
THIS_PROCESS = "this process"
"""The origin of plugins that no distribution has."""


@dataclass(frozen=True)
class Listing:
    """One line of `gcc list`: a plugin that works, or the reason why it does not work."""

    name: str
    distribution: str
    version: str
    summary: str
    fault: PluginError | None = None


@dataclass(frozen=True)
class _Claim:
    """An entry point, and the contract version of its group."""

    entry: importlib.metadata.EntryPoint
    contract: int

    @property
    def distribution(self) -> tuple[str, str]:
        """Name and version of the distribution."""
        try:
            name, version = (self.entry.dist.name, self.entry.dist.version) if self.entry.dist else (None, None)
        except Exception:  # An interrupted uninstall leaves unreadable metadata; the kind of error depends on Python's version.
            name, version = None, None
        return name or "an unknown distribution", version or "of unknown version"

    @property
    def owner(self) -> str:
        return " ".join(self.distribution)


class Registry(Generic[T]):
    """The plugins of one kind, found through the entry-point group `group`.

    Built-in plugins are entry points of this distribution and have no privileges. Nothing is imported before `load`, which checks the
    contract, so a broken plugin breaks only itself. If two distributions claim one name, the error names both, and neither is used.
    `register` adds plugins that are not installed.

    A plugin's group shows the version of its contract without an import: `group` is for contract 1, `group.2` for contract 2. A
    distribution may support several versions.

    Args:
        kind: what users call such a plugin, such as "architecture".
        group: the entry-point group, such as "gcc.architectures".
        check: called with a freshly imported plugin; raises `PluginError` or returns None.
        contract: the version of the contract that is checked.
        renamed: present names of plugins by the names that they had before; the old names still work, with a warning.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        check: Callable[[Any], None],
        contract: int = 1,
        renamed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.kind = kind
        self.group = group
        self.contract = contract
        self.renamed = renamed
        self._check = check
        self._loaded: dict[str, T] = {}
        self._registered: set[str] = set()

    @cached_property
    def _claims(self) -> dict[str, list[_Claim]]:
        """The claims to every name, without those for other contract versions by a distribution that supports this version."""
        claims: dict[str, list[_Claim]] = defaultdict(list)
        candidates = [
            _Claim(entry, contract) for group, contract in self._groups().items() for entry in importlib.metadata.entry_points(group=group)
        ]
        supporting = {(claim.owner, claim.entry.name) for claim in candidates if claim.contract == self.contract}
        for claim in candidates:
            others = claims[claim.entry.name]
            known = any(
                (claim.owner, claim.entry.value, claim.contract) == (other.owner, other.entry.value, other.contract) for other in others
            )
            if not known and (claim.contract == self.contract or (claim.owner, claim.entry.name) not in supporting):
                others.append(claim)
        return dict(claims)

    def _groups(self) -> dict[str, int]:
        """Return the contract version of each entry-point group of this kind."""
        pattern = re.compile(re.escape(self.group) + r"(?:\.(\d+))?")
        groups = {group: pattern.fullmatch(group) for group in sorted(importlib.metadata.entry_points().groups)}
        return {group: int(match[1] or 1) for group, match in groups.items() if match}

    def register(self, name: str, plugin: T) -> None:
        """Add a plugin that no distribution has, for this process alone, such as a class in a notebook. It replaces an earlier one.

        Args:
            name: the name by which options and saved files mean the plugin.
            plugin: the plugin.

        Raises:
            ClashError: an installed distribution claims the name.
            PluginError: the plugin does not fulfil its contract.
        """
        if name in self._claims:
            raise ClashError(f"{self.kind} {name!r} is claimed by {self._claims[name][0].owner}: choose another name")
        self._check(plugin)
        self._loaded[name] = plugin
        self._registered.add(name)

    def names(self) -> list[str]:
        """Return all registered names, sorted, without importing anything."""
        return sorted(self._claims.keys() | self._registered)

    def current_name(self, name: str) -> str:
        """Return the present name of a plugin that was renamed; any other name as it is."""
        return name if name in self.names() else self.renamed.get(name, name)

    def origin(self, name: str) -> str:
        """Return the name and version of the distribution that provides the plugin `name`, without importing it.

        Raises:
            PluginError: the name is unknown, claimed by several distributions, or of a plugin for another contract version.
        """
        name = self._present(name)
        return THIS_PROCESS if name in self._registered else self._chosen(name).owner

    def owner_of(self, package: str) -> str | None:
        """Return the name and version of the distribution that has plugins of this kind in a package; None if none has."""
        claims = (claim for claims in self._claims.values() for claim in claims)
        return next((claim.owner for claim in claims if claim.entry.module.partition(".")[0] == package), None)

    def load(self, name: str) -> T:
        """Import the plugin `name`, check its contract and return it.

        Raises:
            PluginError: the name is unknown, or the plugin cannot be imported or does not fulfil its contract.
            ClashError: several distributions claim the name.
            ContractError: the plugin is for another contract version.
        """
        name = self._present(name)
        if name not in self._loaded:
            claim = self._chosen(name)
            try:
                plugin = claim.entry.load()
                self._check(plugin)
            except Exception as error:
                reason = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
                raise PluginError(f"{self.kind} {name!r} of {claim.owner} does not work: {reason}") from error
            self._loaded[name] = cast(T, plugin)
        return self._loaded[name]

    def listings(self) -> Iterator[Listing]:
        """Yield a line for every plugin; one that does not work has a fault."""
        for name in self.names():
            if name in self._registered:
                yield Listing(name, THIS_PROCESS, "", _summary(self._loaded[name]))
            for claim in self._claims.get(name, ()):
                try:
                    self._require_contract(claim)
                    plugin = self.load(name)
                except PluginError as fault:
                    yield Listing(name, *claim.distribution, "", fault)
                else:
                    yield Listing(name, *claim.distribution, _summary(plugin))

    def _present(self, name: str) -> str:
        """Return the present name of a plugin, and warn if it was renamed."""
        current = self.current_name(name)
        if current != name:
            warn_user(f"the {self.kind} {name} is now called {current}", FutureWarning)
        return current

    def _chosen(self, name: str) -> _Claim:
        """Return the one claim to a name that may be loaded."""
        if name not in self._claims:
            raise PluginError(f"unknown {self.kind} {name!r}{suggestion(name, self.names())}")
        claims = self._claims[name]
        first, *others = [claim for claim in claims if claim.contract == self.contract] or claims[:1]
        if others:
            owners = " and ".join(claim.owner for claim in (first, *others))
            raise ClashError(f"{self.kind} {name!r} is claimed by {owners}: uninstall all but one")
        self._require_contract(first)
        return first

    def _require_contract(self, claim: _Claim) -> None:
        if claim.contract != self.contract:
            distribution, _ = claim.distribution
            newer = "gan-gcc" if claim.contract > self.contract else distribution
            raise ContractError(
                f"{self.kind} {claim.entry.name!r} of {claim.owner} is for contract {claim.contract}, and this gan-gcc has contract "
                f"{self.contract}: install a newer {newer}"
            )


def _summary(plugin: Any) -> str:
    return (getattr(plugin, "__doc__", None) or "").strip().partition("\n")[0]

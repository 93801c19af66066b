"""Checks whether a plugin has the members that its contract demands."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gcc.errors import PluginError


def implements(*contracts: type[Any]) -> Callable[[Any], None]:
    """Return a check that a plugin is a concrete subclass of one of `contracts`; its error names the missing members."""

    def check(plugin: Any) -> None:
        contract = next((contract for contract in contracts if inspect.isclass(plugin) and issubclass(plugin, contract)), None)
        if contract is None:
            names = " or ".join(f"{contract.__module__}.{contract.__name__}" for contract in contracts)
            raise PluginError(f"{plugin!r} is not a subclass of {names}")
        missing = sorted(getattr(plugin, "__abstractmethods__", ()))
        missing += [name for name in _required_attributes(contract) if not hasattr(plugin, name)]
        if missing:
            raise PluginError(f"{plugin.__name__} lacks {', '.join(missing)} of the contract {contract.__name__}")

    return check


def _required_attributes(contract: type[Any]) -> list[str]:
    """Return the class attributes that the contract and its base classes annotate without a default."""
    names = (name for kind in reversed(contract.__mro__) for name in inspect.get_annotations(kind))
    return [name for name in dict.fromkeys(names) if not hasattr(contract, name)]

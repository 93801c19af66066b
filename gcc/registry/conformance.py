"""Whether a plugin has what its contract asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from gcc.errors import PluginError


def implements(*contracts: type[Any]) -> Callable[[Any], None]:
    """Return a check that a plugin is a concrete subclass of one of `contracts`, naming what it lacks."""

    def check(plugin: Any) -> None:
        contract = next((one for one in contracts if inspect.isclass(plugin) and issubclass(plugin, one)), None)
        if contract is None:
            names = " or ".join(f"{one.__module__}.{one.__name__}" for one in contracts)
            raise PluginError(f"{plugin!r} is no subclass of {names}")
        lacking = sorted(getattr(plugin, "__abstractmethods__", ()))
        lacking += [name for name in _declared(contract) if not hasattr(plugin, name)]
        if lacking:
            raise PluginError(f"{plugin.__name__} lacks {', '.join(lacking)} of the contract {contract.__name__}")

    return check


def _declared(contract: type[Any]) -> list[str]:
    """Return the class attributes that the contract, and those that it extends, annotate without a default."""
    names = (name for one in reversed(contract.__mro__) for name in inspect.get_annotations(one))
    return [name for name in dict.fromkeys(names) if not hasattr(contract, name)]

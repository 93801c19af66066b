"""Members that contracts had under other names in version 0.1. Plugins written for it work, and `gcc.testing` lists what to rename."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class AcceptsOldNames:
    """A contract whose renamed members can be defined, called and extended under either name.

    Attributes:
        renamed: present names by old ones.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    _defined_under_old_names: ClassVar[frozenset[str]] = frozenset()

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        members = dict(vars(cls))
        cls._defined_under_old_names = frozenset(cls.renamed.keys() & members.keys())
        for old, new in cls.renamed.items():
            if old in members and new not in members:
                setattr(cls, new, members[old])
            elif new in members and old not in members and not getattr(members[new], "__isabstractmethod__", False):
                setattr(cls, old, members[new])


def to_rename(plugin: type[AcceptsOldNames]) -> dict[str, str]:
    """Return the present names of the members that a plugin defines under old names, by the old name."""
    old = {name for kind in plugin.__mro__ for name in vars(kind).get("_defined_under_old_names", ())}
    return {name: plugin.renamed[name] for name in sorted(old)}

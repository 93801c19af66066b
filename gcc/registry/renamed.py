"""Names that contracts had in version 0.1: plugins that were written for it still work, and learn what to rename."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ReadsOldNames:
    """A contract some of whose members had other names: what a subclass defines under an old name counts as the present one.

    Attributes:
        renamed: present names by old ones.
    """

    renamed: ClassVar[Mapping[str, str]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for old, new in cls.renamed.items():
            if old in vars(cls) and new not in vars(cls):
                setattr(cls, new, vars(cls)[old])

    def __getattr__(self, name: str) -> Any:
        if name not in self.renamed:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
        return getattr(self, self.renamed[name])


def to_rename(plugin: type[ReadsOldNames]) -> dict[str, str]:
    """Return the present names of what a plugin defines under old ones, by the old name."""
    contract = plugin.renamed
    own = [kind for kind in plugin.__mro__ if issubclass(kind, ReadsOldNames)]
    return {old: new for old, new in contract.items() if any(old in vars(kind) for kind in own)}

"""Losses and metrics nested by role, and their leaves."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from gcc.utils.distributed import Ranks

LossTree = Mapping[str, Any]
"""Losses by role and name, such as `{"student": {"G": loss, "imbalance": {"D": loss}}}`; the leaves are scalars on the device."""
Path = tuple[str, ...]
"""Where a leaf is, such as `("student", "imbalance", "D")`."""


def leaves(tree: Mapping[str, Any], above: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every leaf of nested mappings with its path, in order.

    >>> list(leaves({"student": {"G": 1.0, "imbalance": {"D": 2.0}}}))
    [(('student', 'G'), 1.0), (('student', 'imbalance', 'D'), 2.0)]
    """
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


def flattened(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the leaves by their paths as `metrics.jsonl` writes them.

    >>> flattened({"student": {"imbalance": {"D": 2.0}}})
    {'student/imbalance/D': 2.0}
    """
    return {"/".join(path): value for path, value in leaves(tree)}


def averaged(losses: LossTree, ranks: Ranks) -> LossTree:
    """Return the losses averaged over all ranks; the device is not synchronised."""
    if not ranks.is_distributed:
        return losses
    paths, values = zip(*leaves(losses), strict=True) if losses else ((), ())
    means: dict[str, Tensor] = ranks.all_reduce_mean({str(number): value for number, value in enumerate(values)})
    return nested(dict(zip(paths, means.values(), strict=True)))


def nested(by_path: Mapping[Path, Any]) -> dict[str, Any]:
    """Return the tree that has these leaves.

    >>> nested({("student", "G"): 1.0, ("student", "imbalance", "D"): 2.0})
    {'student': {'G': 1.0, 'imbalance': {'D': 2.0}}}
    """
    tree: dict[str, Any] = {}
    for (*above, name), value in by_path.items():
        branch = tree
        for step in above:
            branch = branch.setdefault(step, {})
        branch[name] = value
    return tree


class StepLosses(dict[str, Any]):
    """The losses of a step: nested, and readable by the flat names of version 0.1, such as `losses["student/G"]`, with a warning."""

    def __missing__(self, name: str) -> Any:
        value: Any = self
        for part in name.split("/"):
            if not isinstance(value, Mapping) or part not in value:
                raise KeyError(name)
            value = value[part]
        keys = "".join(f"[{part!r}]" for part in name.split("/"))
        warnings.warn(f"losses[{name!r}] is now called losses{keys}", FutureWarning, stacklevel=2)
        return value

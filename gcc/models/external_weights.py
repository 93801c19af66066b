"""Helpers to read the weights of other programs' generators."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gcc.models.layers import Norm


def is_kernel(tensors: Mapping[str, Tensor], name: str) -> bool:
    """Return whether there is a tensor of that name with the four dimensions of a convolution's weight."""
    return name in tensors and tensors[name].ndim == 4


def foreign_norm(tensors: Mapping[str, Tensor], path: str) -> tuple[Norm, frozenset[str]]:
    """Return the kind of the norm at `path` in another program's generator, and the names of tensors that do not affect its output.

    An instance norm has no scale. In torch before 0.4, it stored running statistics that it did not use.
    """
    if f"{path}.weight" in tensors:
        return "batch", frozenset()
    unused = ("running_mean", "running_var", "num_batches_tracked")
    return "instance", frozenset(name for name in tensors if name.endswith(unused))

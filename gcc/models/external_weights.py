"""Reading the weights of other programs' generators."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gcc.models.layers import Norm


def is_kernel(tensors: Mapping[str, Tensor], name: str) -> bool:
    """Return whether there is a tensor of that name with the dimensions of a convolution's weight."""
    return name in tensors and tensors[name].ndim == 4


def foreign_norm(tensors: Mapping[str, Tensor], path: str) -> tuple[Norm, frozenset[str]]:
    """Return the norm of another program's generator, of which `path` is one, and those of its tensors that have no part in it.

    An instance norm has no scale; that of torch before 0.4 kept running statistics that it did not use.
    """
    if f"{path}.weight" in tensors:
        return "batch", frozenset()
    kept = ("running_mean", "running_var", "num_batches_tracked")
    return "instance", frozenset(name for name in tensors if name.endswith(kept))

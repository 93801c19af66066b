"""Helpers to read the weights of other programs' generators."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from gcc.models.layers import Norm
from gcc.registry.types import StateDictMapping

PATCH = "the 70x70 PatchGAN of pytorch-CycleGAN-and-pix2pix with model.0.weight to model.11.weight"
"""What `map_patch_discriminator` reads, for messages."""


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


def map_patch_discriminator(tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
    """Return how to read the 70x70 PatchGAN of pytorch-CycleGAN-and-pix2pix (`--netD basic`); None if it is not that."""
    convolutions = (0, 2, 5, 8, 11)
    numbered = (int(name.split(".")[1]) for name in tensors if name.startswith("model.") and name.split(".")[1].isdecimal())
    if max(numbered, default=0) != 11 or not all(is_kernel(tensors, f"model.{number}.weight") for number in convolutions):
        return None
    modules = {"conv1.0": "model.0", "conv5": "model.11"}
    for layer, number in ((2, 2), (3, 5), (4, 8)):
        modules |= {f"conv{layer}.0": f"model.{number}", f"conv{layer}.1": f"model.{number + 1}"}
    norm, ignored = foreign_norm(tensors, "model.3")
    return StateDictMapping({"ndf": tensors["model.0.weight"].shape[0], "norm": norm}, modules, ignored)

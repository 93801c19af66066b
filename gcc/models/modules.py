"""Helpers for any `nn.Module`: kinds of layers, networks without values, tensors by name, evaluation mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn

from gcc.errors import GccError

Widths = dict[str, int]
"""Channels of a generator by width name."""

TRANSPOSED_CONVOLUTIONS = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED_CONVOLUTIONS)
IMAGE_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
"""Batch norm and instance norm of any dimension, group norm and layer norm."""

AUTOCAST_DEVICES = ("cpu", "cuda", "mps", "xpu")


def on_meta(build: Callable[[], nn.Module]) -> nn.Module:
    """Build a network on the meta device, in eval mode: it has shapes but no values, and costs nothing."""
    with torch.device("meta"):
        return build().eval()


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name.

    A tensor shared by several layers appears once per layer; a layer registered under several names appears once. This is the form that
    `torch.func.functional_call(..., tie_weights=False)` needs: it cannot restore a layer that it swaps twice.
    """
    return {
        f"{path}.{name}".lstrip("."): tensor
        for path, module in network.named_modules()
        for name, tensor in (module._parameters | module._buffers).items()
        if tensor is not None
    }


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put `network` into evaluation mode, and afterwards restore the mode of every module."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def without_autocast() -> Iterator[None]:
    """Compute in the precision of the operands, although the caller may have enabled autocast."""
    with ExitStack() as stack:
        for kind in AUTOCAST_DEVICES:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield


def require_finite(fake: Tensor) -> None:
    """Refuse generated images that contain NaN or infinite values.

    Raises:
        GccError: some values are NaN or infinite.
    """
    if not fake.isfinite().all():
        raise GccError("the generator's output contains NaN or infinite values: its training has diverged; use another epoch or run")

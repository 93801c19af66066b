"""Selectors of the distillation layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gcc.models.modules import evaluating
from gcc.registry.selector import LayerSelector

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm)
ACTIVATIONS = tuple(
    kind
    for kind in vars(nn.modules.activation).values()
    if isinstance(kind, type) and issubclass(kind, nn.Module) and kind not in (nn.Module, nn.MultiheadAttention)
)


class Paper(LayerSelector):
    """The published positions: the family's row of Table II."""

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        return published


class All(LayerSelector):
    """Every convolution but the last, tapped as Table II does: its activation, else its norm, else itself."""

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        return stages(network, example)[:-1]


class Uniform(LayerSelector):
    """As many layers as Table II has, at even distances over the convolutions in forward order."""

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        found = stages(network, example)
        count = min(len(published), len(found) - 1)
        return [found[(number + 1) * len(found) // (count + 1) - 1] for number in range(count)]


class Named(LayerSelector):
    """The modules that the user named; those that a network lacks belong to another one."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        modules = dict(network.named_modules())
        return [path for path in self.paths if path in modules]


def stages(network: nn.Module, example: Tensor) -> list[str]:
    """Return one module path per convolution in forward order: its activation, else its norm, else itself (Table II's rule).

    A separable pair counts as one convolution, and those inside a module with the attribute `uncounted`, such as an attention, not at all.

    Args:
        network: any network whose layers are modules.
        example: an input that it accepts, on its device.
    """
    order: list[tuple[str, nn.Module]] = []
    counted: tuple[type, ...] = (*CONVOLUTIONS, *NORMS, *ACTIVATIONS)
    uncounted = tuple(f"{path}." for path, module in network.named_modules() if hasattr(module, "uncounted"))
    layers = [
        (path, module) for path, module in network.named_modules() if issubclass(type(module), counted) and not path.startswith(uncounted)
    ]
    handles = [
        layer.register_forward_hook(lambda module, inputs, output, path=path: order.append((path, module))) for path, layer in layers
    ]
    try:
        with torch.no_grad(), evaluating(network):
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    found: list[str] = []
    activated = True
    for path, module in order:
        if isinstance(module, CONVOLUTIONS):
            # A depthwise convolution ends the stage before it; its pointwise one begins the next.
            activated = module.groups == module.in_channels > 1
            found += [] if activated else [path]
        elif not activated:
            found[-1] = path
            activated = isinstance(module, ACTIVATIONS)
    return list(dict.fromkeys(found))

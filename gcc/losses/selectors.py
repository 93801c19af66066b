"""Selectors of the layers to distil."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gcc.models.modules import IMAGE_CONVOLUTIONS, NORMS, evaluating
from gcc.registry.selector import LayerSelector

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
    """Every convolution except the last, tapped as in Table II: its activation, else its norm, else itself."""

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        return find_stages(network, example)[:-1]


class Uniform(LayerSelector):
    """As many layers as in Table II, evenly spaced over the convolutions in forward order."""

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        stages = find_stages(network, example)
        count = min(len(published), len(stages) - 1)
        return [stages[(number + 1) * len(stages) // (count + 1) - 1] for number in range(count)]


class Named(LayerSelector):
    """The modules that the user named; those that a network lacks belong to another network."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        modules = dict(network.named_modules())
        return [path for path in self.paths if path in modules]


def find_stages(network: nn.Module, example: Tensor) -> list[str]:
    """Return one module path per convolution in forward order: its activation, else its norm, else itself (Table II's rule).

    A separable pair counts as one convolution. Convolutions inside a module with an attribute `uncounted`, such as
    attention, do not count.

    Args:
        network: any network whose layers are modules.
        example: an input of the network, on its device.
    """
    order: list[tuple[str, nn.Module]] = []
    counted: tuple[type, ...] = (*IMAGE_CONVOLUTIONS, *NORMS, *ACTIVATIONS)
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
    stages: list[str] = []
    activated = True
    for path, module in order:
        if isinstance(module, IMAGE_CONVOLUTIONS):
            # A depthwise convolution ends the stage before it; its pointwise one begins the next.
            activated = module.groups == module.in_channels > 1
            stages += [] if activated else [path]
        elif not activated:
            stages[-1] = path
            activated = isinstance(module, ACTIVATIONS)
    return list(dict.fromkeys(stages))

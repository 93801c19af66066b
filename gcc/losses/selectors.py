"""Selectors of the layers to distil."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gcc.losses.distillation import modules_at, tapped
from gcc.models.modules import IMAGE_CONVOLUTIONS, NORMS, evaluating
from gcc.registry.selector import LayerSelector

T = TypeVar("T")
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
        return list(resolutions(network, find_stages(network, example)[:-1], example))


class Uniform(LayerSelector):
    """As many layers as in Table II, spread over the resolutions of the features in forward order."""

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        return spread(network, example, len(published))


class Named(LayerSelector):
    """The modules that the user named; those that a network lacks belong to another network."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = tuple(paths)

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        modules = dict(network.named_modules())
        return [path for path in self.paths if path in modules]


def spread(network: nn.Module, example: Tensor, count: int) -> list[str]:
    """Return `count` convolutions, except the last, that are spread over the resolutions of their features; all if there are fewer.

    Successive convolutions of one resolution are a run. Every run gives its last convolution; if there are more runs than `count`, evenly
    spaced ones do. If there are fewer, the longest give evenly spaced ones as well.

    Args:
        network: any network whose layers are modules.
        example: an input of the network, on its device.
        count: how many convolutions to return, as the paths that `find_stages` returns.
    """
    stages = resolutions(network, find_stages(network, example)[:-1], example).items()
    runs = [[path for path, _ in run] for _, run in groupby(stages, key=itemgetter(1))]
    runs = _evenly(runs, min(count, len(runs)))
    shares = [1] * len(runs)
    while sum(shares) < min(count, sum(map(len, runs))):
        longest = max(range(len(runs)), key=lambda number: len(runs[number]) / shares[number])
        shares[longest] += 1
    return [path for run, share in zip(runs, shares, strict=True) for path in _evenly(run, share)]


def _evenly(items: Sequence[T], count: int) -> list[T]:
    """Return `count` evenly spaced items, of which the last is the last of all."""
    return [items[(number + 1) * len(items) // count - 1] for number in range(count)]


def resolutions(network: nn.Module, paths: Sequence[str], example: Tensor) -> dict[str, torch.Size]:
    """Return the resolution (H, W) of the features of each module at `paths`, without modules that cannot be distilled.

    These are modules that return tokens and not images, (N, C, H, W), and those that the network calls only in one of evaluation and
    training mode, such as a convolution that several are merged into for inference.

    Args:
        network: any network.
        paths: module paths of the network.
        example: an input of the network, on its device.
    """
    layers = modules_at(network, paths)
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
    with torch.no_grad(), evaluating(network), tapped({"inference": layers}) as inferred:
        network(example)
    with torch.no_grad(), evaluating(network), tapped({"training": layers}) as trained:
        # Batch norm needs two values in training mode, and updates the copied statistics.
        functional_call(network.train(), buffers, (example.repeat_interleave(2, 0),), tie_weights=False)
    outputs = {path: output for path, output in inferred["inference"].items() if path in trained["training"]}
    return {path: outputs[path].shape[2:] for path in paths if isinstance(outputs.get(path), Tensor) and outputs[path].ndim == 4}


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

"""Selectors of the layers to distil."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gcc.losses.distillation import modules_at, tapped
from gcc.models.modules import IMAGE_CONVOLUTIONS, NORMS, evaluating, tensors_of
from gcc.registry.selector import LayerSelector

T = TypeVar("T")
"""What is spread evenly."""
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
        return list(distillable(network, find_layers(network, example)[:-1], example))


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
    """Return `count` layers, without the last, that are spread over the resolutions of their features; all if there are fewer.

    Successive layers of one resolution are a level. The last layer of every level is chosen, or, if there are more levels than `count`, of
    evenly spaced ones. If there are fewer, evenly spaced layers of the longest levels are chosen as well. Layers with one value per
    channel, as in channel attention, are the last resort.

    Args:
        network: any network whose layers are modules.
        example: an input of the network, on its device.
        count: how many layers to return, as module paths that `find_layers` returns.
    """
    every = distillable(network, find_layers(network, example)[:-1], example)
    layers = {path: size for path, size in every.items() if size != (1, 1)} or every
    levels = [[path for path, _ in level] for _, level in groupby(layers.items(), key=itemgetter(1))]
    levels = _evenly(levels, min(count, len(levels)))
    shares = [1] * len(levels)
    while sum(shares) < min(count, sum(map(len, levels))):
        longest = max(range(len(levels)), key=lambda number: len(levels[number]) / shares[number])
        shares[longest] += 1
    return [path for level, share in zip(levels, shares, strict=True) for path in _evenly(level, share)]


def _evenly(items: Sequence[T], count: int) -> list[T]:
    """Return `count` evenly spaced items, of which the last is the last of all."""
    return [items[(number + 1) * len(items) // count - 1] for number in range(count)]


def distillable(network: nn.Module, paths: Sequence[str], example: Tensor) -> dict[str, tuple[int, ...]]:
    """Return the modules at `paths` whose features can be distilled, with the resolution (H, W) of these.

    They are images, (N, C, H, W), and the network calls the module in evaluation as well as in training mode: not only one of a few
    convolutions that are merged into one for inference. A network that fails on the example in training mode is asked in evaluation mode
    alone.

    Args:
        network: any network.
        paths: module paths of the network.
        example: an input of the network, on its device.
    """
    layers = modules_at(network, paths)
    with torch.no_grad(), evaluating(network), tapped({"": layers}) as inferred:
        network(example)
    trained = inferred
    # A user's module can raise anything on the meta device, such as one that draws whether it turns its input.
    with suppress(Exception), torch.no_grad(), evaluating(network), tapped({"": layers}) as features:
        network.train()
        # Batch norm needs two values in training mode, and updates the copied statistics.
        tensors = {name: tensor if isinstance(tensor, nn.Parameter) else tensor.clone() for name, tensor in tensors_of(network).items()}
        functional_call(network, tensors, (example.repeat_interleave(2, 0),), tie_weights=False)
        trained = features
    shapes = {path: _shape_of_sample(inferred[""].get(path)) for path in paths}
    return {path: shape[1:] for path, shape in shapes.items() if len(shape) == 3 and shape == _shape_of_sample(trained[""].get(path))}


def _shape_of_sample(features: object) -> tuple[int, ...]:
    """Return the shape of one sample's features, or an empty tuple for anything but a tensor."""
    return tuple(features.shape[1:]) if isinstance(features, Tensor) else ()


def find_layers(network: nn.Module, example: Tensor) -> list[str]:
    """Return one module path per convolution in forward order: its activation, else its norm, else itself (Table II's rule).

    A norm or an activation counts only if its features are those of the convolution, which a pixel shuffle may have enlarged. Of a module
    that is called more than once, only the last call counts. A separable pair counts as one convolution. Convolutions inside a module with
    an attribute `uncounted`, such as attention, do not count.

    Args:
        network: any network whose layers are modules.
        example: an input of the network, on its device.
    """
    calls: list[tuple[str, nn.Module, Any]] = []
    counted: tuple[type, ...] = (*IMAGE_CONVOLUTIONS, *NORMS, *ACTIVATIONS)
    uncounted = tuple(f"{path}." for path, module in network.named_modules() if hasattr(module, "uncounted"))
    layers = [
        (path, module) for path, module in network.named_modules() if issubclass(type(module), counted) and not path.startswith(uncounted)
    ]
    handles = [
        layer.register_forward_hook(lambda module, inputs, output, path=path: calls.append((path, module, output.shape)))
        for path, layer in layers
    ]
    try:
        with torch.no_grad(), evaluating(network):
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    last_calls = {path: number for number, (path, _, _) in enumerate(calls)}
    found: list[str] = []
    activated, of_convolution = True, torch.Size()
    for number, (path, module, shape) in enumerate(calls):
        if isinstance(module, IMAGE_CONVOLUTIONS):
            # A depthwise convolution ends the layer before it; its pointwise one begins the next.
            activated, of_convolution = module.groups == module.in_channels > 1, shape
            found += [] if activated else [path]
        elif not activated:
            if last_calls[path] == number and _may_follow(shape, of_convolution):
                found[-1] = path
            activated = isinstance(module, ACTIVATIONS)
    return list(dict.fromkeys(found))


def _may_follow(shape: Sequence[int], before: Sequence[int]) -> bool:
    """Return whether features (N, C, H, W) may be computed from others pixel by pixel, or from their shuffled pixels."""
    if len(shape) != 4 or len(before) != 4 or shape[0] != before[0]:
        return False
    (rows, columns), (height, width) = shape[2:], before[2:]
    return rows * width == columns * height and rows % height == 0

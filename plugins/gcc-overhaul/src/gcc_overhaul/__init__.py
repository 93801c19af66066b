"""The layers distilled by "A comprehensive overhaul of feature distillation" (Heo et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gcc.registry import LayerSelector

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm)


class Overhaul(LayerSelector):
    """The last convolution at every resolution, after its norm and before its activation (Heo et al. 2019)."""

    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        """Return one path for each run of layers of one resolution, without the layer that returns the image or the logits."""
        layers = _layers(network, example)[:-1]
        resolutions = [size for _, size in layers[1:]] + [None]
        return list(dict.fromkeys(path for (path, size), after in zip(layers, resolutions, strict=True) if size != after))


def _layers(network: nn.Module, example: Tensor) -> list[tuple[str, torch.Size]]:
    """Return each convolution in forward order with its resolution; if a norm follows it, by the path of that norm."""
    layers: list[tuple[str, torch.Size]] = []
    outputs: list[Tensor] = []

    def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, path: str) -> None:
        if isinstance(module, CONVOLUTIONS):
            layers.append((path, output.shape[2:]))
            outputs.append(output)
        elif outputs and inputs[0] is outputs[-1]:
            layers[-1] = (path, output.shape[2:])

    handles = [
        module.register_forward_hook(lambda module, inputs, output, path=path: record(module, inputs, output, path))
        for path, module in network.named_modules()
        if isinstance(module, (*CONVOLUTIONS, *NORMS))
    ]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return layers

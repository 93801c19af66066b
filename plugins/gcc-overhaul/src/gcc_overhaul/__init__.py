"""The distillation positions of "A comprehensive overhaul of feature distillation" (Heo et al. 2019)."""

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
        """Return one path for each run of layers of one resolution; the layer that gives the image or the logits is none of them."""
        layers = _layers(network, example)[:-1]
        resolutions = [size for _, size in layers[1:]] + [None]
        return list(dict.fromkeys(path for (path, size), after in zip(layers, resolutions, strict=True) if size != after))


def _layers(network: nn.Module, example: Tensor) -> list[tuple[str, torch.Size]]:
    """Return each convolution in forward order, by the path of its norm if one takes what it gives, with the resolution of that."""
    found: list[tuple[str, torch.Size]] = []
    given: list[Tensor] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor, path: str) -> None:
        if isinstance(module, CONVOLUTIONS):
            found.append((path, output.shape[2:]))
            given.append(output)
        elif given and inputs[0] is given[-1]:
            found[-1] = (path, output.shape[2:])

    handles = [
        module.register_forward_hook(lambda module, inputs, output, path=path: note(module, inputs, output, path))
        for path, module in network.named_modules()
        if isinstance(module, (*CONVOLUTIONS, *NORMS))
    ]
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return found

"""Layers that several families share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

from gcc.registry.contracts import Gate

Norm = Literal["batch", "instance"]


def norm_layer(norm: Norm) -> Callable[[int], nn.Module]:
    """Return the constructor of a normalisation over C channels; instance norm has no scale, as in the original trainers."""
    return nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d


def initialise_normal(network: nn.Module, deviation: float = 0.02) -> None:
    """Draw convolution weights from N(0, `deviation`) and norm scales from N(1, `deviation`); zero every bias (Isola et al. 2017)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(module.weight, 0.0, deviation)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, deviation)
        else:
            continue
        if module.bias is not None:
            nn.init.zeros_(module.bias)


class PatchDiscriminator(nn.Module):
    """The 70x70 PatchGAN (Isola et al. 2017): convolutions `conv1` .. `conv5`, of which the last gives one logit per patch.

    Args:
        channels: channels of the judged image; source and target together where the game is conditional.
        ndf: width of the first convolution; the others have 2, 4 and 8 times as many.
        norm: normalisation of the second to the fourth convolution.
        gate: stands after the norm and before the activation of all convolutions but the last.
    """

    def __init__(self, channels: int, ndf: int, norm: Norm, gate: Gate) -> None:
        super().__init__()
        normalise = norm_layer(norm)
        before = channels
        for number, (width, stride) in enumerate([(ndf, 2), (2 * ndf, 2), (4 * ndf, 2), (8 * ndf, 1)], start=1):
            normed = number > 1
            self.add_module(
                f"conv{number}",
                nn.Sequential(
                    nn.Conv2d(before, width, 4, stride, 1, bias=not normed or norm == "instance"),
                    normalise(width) if normed else nn.Identity(),
                    gate(width),
                    nn.LeakyReLU(0.2),
                ),
            )
            before = width
        self.conv5 = nn.Conv2d(before, 1, 4, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, channels, H, W) to patch logits (N, 1, H/8 - 2, W/8 - 2)."""
        for layer in self.children():
            image = layer(image)
        return image

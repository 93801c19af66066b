"""Layers that several families use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import register_parametrization

from gcc.registry.types import Gate

Norm = Literal["batch", "instance"]


def norm_layer(norm: Norm) -> Callable[[int], nn.Module]:
    """Return the class of a norm over C channels; as in the original trainers, instance norm has no scale."""
    return nn.BatchNorm2d if norm == "batch" else nn.InstanceNorm2d


def runs_channels_last(network: nn.Module) -> bool:
    """Return whether channels last can be the faster layout; it is not with instance norm, which torch computes contiguously."""
    return not any(isinstance(module, nn.InstanceNorm2d) for module in network.modules())


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


class ReflectionPad(nn.ReflectionPad2d):
    """Torch's reflection padding, composed of slices if results must be reproducible: torch's own gradient on a GPU is not."""

    def forward(self, image: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C, H + top + bottom, W + left + right)."""
        if not (image.is_cuda and torch.are_deterministic_algorithms_enabled()):
            return super().forward(image)
        left, right, top, bottom = self.padding
        return reflected(reflected(image, left, right, dim=3), top, bottom, dim=2)


def reflected(image: Tensor, before: int, after: int, dim: int) -> Tensor:
    """Return an image with `before` and `after` reflected pixels added at the ends of a dimension."""
    size = image.shape[dim]
    parts = [image.narrow(dim, 1, before).flip(dim), image, image.narrow(dim, size - 1 - after, after).flip(dim)]
    return torch.cat(parts, dim)


def ends_of_parts(count: int, parts: int) -> list[int]:
    """Return the numbers of the last blocks of equal parts of `count` blocks, from 1; fewer blocks than parts are all returned.

    >>> ends_of_parts(16, 4), ends_of_parts(2, 3)
    ([4, 8, 12, 16], [1, 2])
    """
    return sorted({-(-part * count // parts) for part in range(1, parts + 1)})


class Residual(nn.Sequential):
    """Adds the output of its layers to its input; without layers it is the identity."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        residual = features
        for layer in self:
            residual = layer(residual)
        return features + residual if len(self) else features


class _SpectralNorm(parametrizations._SpectralNorm):
    """Torch's spectral norm, in float32 even under autocast; on the meta device, nothing is computed, which saves time."""

    def forward(self, weight: Tensor) -> Tensor:
        if weight.is_meta:
            return weight
        with torch.autocast("cuda" if weight.is_cuda else "cpu", enabled=False):
            return super().forward(weight)

    def _power_method(self, weight_mat: Tensor, n_power_iterations: int) -> None:
        if not weight_mat.is_meta:
            super()._power_method(weight_mat, n_power_iterations)


def spectral_norm(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Module:
    """Divide a layer's weight by its largest singular value, followed by one power iteration per training pass (Miyato et al. 2018)."""
    dim = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
    return register_parametrization(layer, "weight", _SpectralNorm(layer.weight, dim=dim))


class SelfAttention(nn.Module):
    r"""Adds to each position what it attends to: `o = gamma * V softmax(K^T Q) + x` (Zhang et al. 2019, Eq. 1-4).

    Queries and keys have C/8 channels, values C; gamma starts at 0.
    """

    uncounted = True
    """Its 1x1 convolutions are not counted among a network's convolutions (Table II)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.query = nn.Conv2d(channels, inner, 1)
        self.key = nn.Conv2d(channels, inner, 1)
        self.value = nn.Conv2d(channels, channels, 1)
        self.gamma = nn.Parameter(torch.zeros(()))

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        query, key, value = (layer(features).flatten(2) for layer in (self.query, self.key, self.value))
        # With contiguous factors, this is twice as fast on a CPU as with transposed views of the large attention map.
        attention = torch.softmax(torch.bmm(query.transpose(1, 2).contiguous(), key), dim=-1)
        return features + self.gamma * torch.bmm(attention, value.transpose(1, 2).contiguous()).transpose(1, 2).reshape(features.shape)


class PatchDiscriminator(nn.Module):
    """The 70x70 PatchGAN (Isola et al. 2017): convolutions `conv1` .. `conv5`; the last returns one logit per patch.

    Args:
        channels: channels of the input; those of source and target together if the discriminator is conditional.
        ndf: width of the first convolution; the others have 2, 4 and 8 times as many.
        norm: normalisation of the second to the fourth convolution.
        gate: inserted after the norm and before the activation of every convolution except the last.
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

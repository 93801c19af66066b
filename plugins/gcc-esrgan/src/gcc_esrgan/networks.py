"""The generators: residual-in-residual dense blocks (Wang et al. 2018), and the compact network of Real-ESRGAN's small models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, pixel_unshuffle

DENSE = 3
"""Number of dense blocks in a residual-in-residual block."""
GROWING = 4
"""Number of convolutions of a dense block whose output all later ones read as well."""
RESIDUAL_SCALE = 0.2
"""Factor of a block's output before it is added to the block's input."""


class Dense(nn.Module):
    """A dense block: each convolution reads the trunk and the outputs of all earlier ones; the last one returns the change of the trunk.

    Args:
        trunk: channels of the trunk.
        growth: output channels of each of the others; a convolution without channels is left out.
    """

    def __init__(self, trunk: int, growth: list[int]) -> None:
        super().__init__()
        before = trunk
        self.grow = nn.ModuleDict()
        for number, width in enumerate(growth, start=1):
            if width:
                self.grow[f"conv{number}"] = nn.Sequential(nn.Conv2d(before, width, 3, 1, 1), nn.LeakyReLU(0.2))
            before += width
        self.join = nn.Conv2d(before, trunk, 3, 1, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, trunk, H, W) to the same shape."""
        dense = features
        for layer in self.grow.values():
            dense = torch.cat([dense, layer(dense)], 1)
        return features + RESIDUAL_SCALE * cast(Tensor, self.join(dense))


class Block(nn.Sequential):
    """A residual-in-residual dense block."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, trunk, H, W) to the same shape."""
        residual = features
        for layer in self:
            residual = layer(residual)
        return features + RESIDUAL_SCALE * residual


class Doubled(nn.Sequential):
    """Repeats every pixel twice in both directions before its layers."""

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', 2 H, 2 W)."""
        features = interpolate(features, scale_factor=2.0, mode="nearest")
        for layer in self:
            features = layer(features)
        return features


class RRDBNet(nn.Module):
    """The generator: blocks at low resolution, then a convolution after each doubling, and two that produce the image.

    Args:
        widths: channels of `trunk`, of every growing convolution `block{i}.dense{j}.conv{k}`, of each `up{level}` and of `last`.
        blocks: number of residual-in-residual blocks.
        doublings: log2 of the factor between low resolution and the output.
        unshuffle: factor by which the input is larger than low resolution; its pixels become channels.
    """

    def __init__(self, widths: Mapping[str, int], blocks: int, doublings: int, unshuffle: int = 1) -> None:
        super().__init__()
        trunk = widths["trunk"]
        self.unshuffle, self.scale = unshuffle, 2**doublings // unshuffle
        self.stem = nn.Conv2d(3 * unshuffle**2, trunk, 3, 1, 1)
        self.blocks = nn.Sequential(
            *(
                Block(*(Dense(trunk, [widths[name] for name in growing(block, dense)]) for dense in range(1, DENSE + 1)))
                for block in range(1, blocks + 1)
            )
        )
        self.joint = nn.Conv2d(trunk, trunk, 3, 1, 1)
        self.ups = nn.Sequential()
        before = trunk
        for level in range(1, doublings + 1):
            width = widths[f"up{level}"]
            self.ups.append(Doubled(nn.Conv2d(before, width, 3, 1, 1), nn.LeakyReLU(0.2)))
            before = width
        self.last = nn.Sequential(nn.Conv2d(before, widths["last"], 3, 1, 1), nn.LeakyReLU(0.2))
        self.head = nn.Conv2d(widths["last"], 3, 3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, 3, H, W) to one of `scale` times its height and width; H and W are arbitrary."""
        if self.unshuffle == 1:
            return self._enlarged(image)
        height, width = image.shape[2:]
        image = pad(image, (0, -width % self.unshuffle, 0, -height % self.unshuffle), mode="replicate")
        return self._enlarged(pixel_unshuffle(image, self.unshuffle))[:, :, : self.scale * height, : self.scale * width]

    def _enlarged(self, image: Tensor) -> Tensor:
        stem = self.stem(image)
        return cast(Tensor, self.head(self.last(self.ups(stem + self.joint(self.blocks(stem))))))


def growing(block: int, dense: int) -> list[str]:
    """Return the width names of a dense block's growing convolutions."""
    return [f"block{block}.dense{dense}.conv{number}" for number in range(1, GROWING + 1)]


class Compact(nn.Module):
    """A chain of 3x3 convolutions at low resolution; the last one returns the pixels that are added to the enlarged input.

    The authors of Real-ESRGAN released this network after the paper, as SRVGGNetCompact, for the models `realesr-general-x4v3` (32
    convolutions between the first and the last) and `realesr-animevideov3` (16).

    Args:
        widths: channels of `conv1`, `conv2` and so on: of every convolution except the last, in order.
        scale: factor by which height and width grow.
    """

    def __init__(self, widths: Mapping[str, int], scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.layers = nn.Sequential()
        before = 3
        for width in widths.values():
            self.layers.append(nn.Sequential(nn.Conv2d(before, width, 3, 1, 1), nn.PReLU(width)))
            before = width
        self.head = nn.Conv2d(before, 3 * scale**2, 3, 1, 1)
        self.shuffle = nn.PixelShuffle(scale)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, 3, H, W) to one of `scale` times its height and width; H and W are arbitrary."""
        enlarged = interpolate(image, scale_factor=float(self.scale), mode="nearest")
        return enlarged + cast(Tensor, self.shuffle(self.head(self.layers(image))))

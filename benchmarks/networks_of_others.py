"""Generators with published weights, whose modules have the names of these weights.

gcc compress --generator networks_of_others:DCGAN --teacher dcGanGeneratorModel.pt --task noise --example 1x100x1x1 --data faces
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64)
        self.prelu = nn.PReLU()
        self.conv2, self.bn2 = nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.bn2(self.conv2(self.prelu(self.bn1(self.conv1(x)))))
        return result


class Upsampling(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.shuffle, self.prelu = nn.Conv2d(64, 256, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.prelu(self.shuffle(self.conv(x)))
        return result


class SRGAN(nn.Module):
    """The generator of leftthomas/SRGAN (MIT) for factor 4: maps images (N, 3, H, W) in [0, 1] to (N, 3, 4H, 4W) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.block1 = nn.Sequential(nn.Conv2d(3, 64, 9, padding=4), nn.PReLU())
        self.block2, self.block3, self.block4, self.block5, self.block6 = (Block() for _ in range(5))
        self.block7 = nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.PReLU())
        self.block8 = nn.Sequential(Upsampling(), Upsampling(), nn.Conv2d(64, 3, 9, padding=4))

    def forward(self, image: Tensor) -> Tensor:
        first: Tensor = self.block1(image)
        last = self.block7(self.block6(self.block5(self.block4(self.block3(self.block2(first))))))
        return (torch.tanh(self.block8(first + last)) + 1) / 2


class DCGAN(nn.Sequential):
    """The generator of faces of the package generateme 0.1.2 (MIT): maps noise (N, 100, 1, 1) to images (N, 3, 64, 64) in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (100, 512, 256, 128, 64)
        for level in range(1, 5):
            stride, padding = (1, 0) if level == 1 else (2, 1)
            self.add_module(f"convTr{level}", nn.ConvTranspose2d(widths[level - 1], widths[level], 4, stride, padding, bias=False))
            self.add_module(f"batchNorm{level}", nn.BatchNorm2d(widths[level]))
            self.add_module(f"relu{level}", nn.ReLU())
        self.convTr5 = nn.ConvTranspose2d(64, 3, 4, 2, 1, bias=False)
        self.tanh = nn.Tanh()

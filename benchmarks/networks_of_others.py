"""Generators with code of their own: a U-Net to train, and networks with published weights, whose modules have the names of these weights.

gcc train --generator networks_of_others:UNet --task paired --direction BtoA --data facades --size 128
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


class NormedConv(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int = 1, activation: nn.Module | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, padding_mode="reflect")
        self.norm, self.activation = nn.InstanceNorm2d(outputs), activation or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.activation(self.norm(self.conv(x)))
        return result


class NormedUpconv(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.upconv, self.norm = nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1), nn.InstanceNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.norm(self.upconv(x)))


class ResidualBlock(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv_in_relu, self.conv_in = NormedConv(64, 64, activation=nn.ReLU()), NormedConv(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.conv_in(self.conv_in_relu(x))
        return result


class ResNet9(nn.Module):
    """The generator of akanametov/cyclegan (MIT), of width 16: maps images (N, 3, 4H, 4W) to ones of the same size, in [-1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.Input, self.norm = nn.Conv2d(3, 16, 7, padding=3, padding_mode="reflect"), nn.InstanceNorm2d(16)
        self.DownStage, self.ResStage, self.UpStage = nn.Sequential(), nn.Sequential(), nn.Sequential()
        for index, (inputs, outputs) in enumerate(((16, 32), (32, 64))):
            self.DownStage.add_module(f"block{index}", NormedConv(inputs, outputs, 2, nn.ReLU()))
        for index, (inputs, outputs) in enumerate(((64, 32), (32, 16))):
            self.UpStage.add_module(f"block{index}", NormedUpconv(inputs, outputs))
        for index in range(9):
            self.ResStage.add_module(f"block{index}", ResidualBlock())
        self.Output = nn.Sequential()
        self.Output.add_module("conv", nn.Conv2d(16, 3, 7, padding=3, padding_mode="reflect"))

    def forward(self, image: Tensor) -> Tensor:
        x = self.DownStage(torch.relu(self.norm(self.Input(image))))
        return torch.tanh(self.Output(self.UpStage(self.ResStage(x))))


class UNet(nn.Module):
    """The U-Net of pix2pix (Isola et al. 2017) with six levels and without dropout: maps (N, 3, 64H, 64W) to the same size in [-1, 1]."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        widths = [3, width, 2 * width, 4 * width, 8 * width, 8 * width, 8 * width]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for level in range(6):
            norm = nn.BatchNorm2d(widths[level + 1]) if 0 < level < 5 else nn.Identity()
            self.down.append(nn.Sequential(nn.Conv2d(widths[level], widths[level + 1], 4, 2, 1), norm, nn.LeakyReLU(0.2)))
        for level in reversed(range(1, 6)):
            inputs = widths[level + 1] if level == 5 else 2 * widths[level + 1]
            self.up.append(nn.Sequential(nn.ConvTranspose2d(inputs, widths[level], 4, 2, 1), nn.BatchNorm2d(widths[level]), nn.ReLU()))
        self.last = nn.Sequential(nn.ConvTranspose2d(2 * width, 3, 4, 2, 1), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        x, skips = image, []
        for down in self.down:
            x = down(x)
            skips.append(x)
        x = skips.pop()
        for up in self.up:
            x = torch.cat([up(x), skips.pop()], 1)
        result: Tensor = self.last(x)
        return result

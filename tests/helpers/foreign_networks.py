"""Generators with the layers, and therefore the tensor names, of pytorch-CycleGAN-and-pix2pix, written from its file format."""

import torch
from torch import nn


class Level(nn.Module):
    """One level of a U-Net, which contains the next one."""

    def __init__(self, *layers):
        super().__init__()
        self.model = nn.Sequential(*layers)

    def forward(self, features):
        return torch.cat([features, self.model(features)], 1)


class Whole(nn.Module):
    def __init__(self, outermost):
        super().__init__()
        self.model = outermost

    def forward(self, image):
        return self.model(image)


class Outermost(Level):
    def forward(self, features):
        return self.model(features)


def unet(depth, ngf, norm=nn.BatchNorm2d, bias=False, channels=(3, 3)):
    """Return a U-Net of `depth` levels; its tensors are named `model.model.0.weight` and so on."""

    def down(before, width):
        return nn.Conv2d(before, width, 4, 2, 1, bias=bias)

    def up(before, width, bias=bias):
        return nn.ConvTranspose2d(before, width, 4, 2, 1, bias=bias)

    def wide(level):
        return ngf * min(8, 2 ** (level - 1))

    level = Level(
        *(nn.LeakyReLU(0.2), down(wide(depth - 1), wide(depth)), nn.ReLU(), up(wide(depth), wide(depth - 1)), norm(wide(depth - 1)))
    )
    for k in range(depth - 1, 1, -1):
        drop = [nn.Dropout(0.5)] if 5 <= k else []
        outer, inner = wide(k - 1), wide(k)
        level = Level(*(nn.LeakyReLU(0.2), down(outer, inner), norm(inner), level, nn.ReLU(), up(2 * inner, outer), norm(outer), *drop))
    return Whole(Outermost(down(channels[0], ngf), level, nn.ReLU(), up(2 * ngf, channels[1], bias=True), nn.Tanh()))


class PatchGAN(nn.Module):
    """The discriminator of `--netD basic`; its tensors are named `model.0.weight` and so on."""

    def __init__(self, channels, ndf, norm=nn.BatchNorm2d, layers=3):
        super().__init__()
        bias = norm is not nn.BatchNorm2d
        modules, before = [nn.Conv2d(channels, ndf, 4, 2, 1), nn.LeakyReLU(0.2)], ndf
        for number in range(1, layers + 1):
            width = ndf * min(8, 2**number)
            modules += [nn.Conv2d(before, width, 4, 2 if number < layers else 1, 1, bias=bias), norm(width), nn.LeakyReLU(0.2)]
            before = width
        self.model = nn.Sequential(*modules, nn.Conv2d(before, 1, 4, 1, 1))

    def forward(self, image):
        return self.model(image)


class Block(nn.Module):
    def __init__(self, width, norm, dropout, bias):
        super().__init__()
        drop = [nn.Dropout(0.5)] if dropout else []
        self.conv_block = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width), nn.ReLU(), *drop),
            *(nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3, bias=bias), norm(width)),
        )

    def forward(self, features):
        return features + self.conv_block(features)


class ResNet(nn.Module):
    def __init__(self, blocks, ngf, norm=nn.InstanceNorm2d, dropout=False, bias=True, channels=(3, 3)):
        super().__init__()
        self.model = nn.Sequential(
            *(nn.ReflectionPad2d(3), nn.Conv2d(channels[0], ngf, 7, bias=bias), norm(ngf), nn.ReLU()),
            *(nn.Conv2d(ngf, 2 * ngf, 3, 2, 1, bias=bias), norm(2 * ngf), nn.ReLU()),
            *(nn.Conv2d(2 * ngf, 4 * ngf, 3, 2, 1, bias=bias), norm(4 * ngf), nn.ReLU()),
            *(Block(4 * ngf, norm, dropout, bias) for _ in range(blocks)),
            *(nn.ConvTranspose2d(4 * ngf, 2 * ngf, 3, 2, 1, 1, bias=bias), norm(2 * ngf), nn.ReLU()),
            *(nn.ConvTranspose2d(2 * ngf, ngf, 3, 2, 1, 1, bias=bias), norm(ngf), nn.ReLU()),
            *(nn.ReflectionPad2d(3), nn.Conv2d(ngf, channels[1], 7), nn.Tanh()),
        )

    def forward(self, image):
        return self.model(image)

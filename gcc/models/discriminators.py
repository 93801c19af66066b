"""Discriminators for any images: a U-Net with logits per pixel, and DCGAN's with one logit per image."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn.functional import interpolate

from gcc.errors import RecipeError
from gcc.models.layers import spectral_norm
from gcc.registry.types import Gate

LEAST_SIZE = 8


class UNetDiscriminator(nn.Module):
    """A U-Net with spectral norm, which returns one logit per pixel (Wang et al. 2021, Real-ESRGAN).

    `stem` keeps the size, `down1` .. `down3` halve it, and `up1` .. `up3` each enlarge their input to the size of the skip that is added to
    their output. `conv1` and `conv2` keep the size, and so does `logits`. `stem` and `logits` have no spectral norm.

    Args:
        channels: channels of the input.
        ndf: width of `stem`; the three levels below have 2, 4 and 8 times as many.
        gate: inserted before the activation of every convolution except `logits`.
    """

    def __init__(self, channels: int, ndf: int, gate: Gate) -> None:
        super().__init__()

        def layer(convolution: nn.Module, width: int) -> nn.Sequential:
            return nn.Sequential(convolution, gate(width), nn.LeakyReLU(0.2))

        def same(before: int, width: int) -> nn.Sequential:
            return layer(spectral_norm(nn.Conv2d(before, width, 3, 1, 1, bias=False)), width)

        def down(width: int) -> nn.Sequential:
            return layer(spectral_norm(nn.Conv2d(width // 2, width, 4, 2, 1, bias=False)), width)

        self.stem = layer(nn.Conv2d(channels, ndf, 3, 1, 1), ndf)
        self.down1, self.down2, self.down3 = down(2 * ndf), down(4 * ndf), down(8 * ndf)
        self.up1, self.up2, self.up3 = same(8 * ndf, 4 * ndf), same(4 * ndf, 2 * ndf), same(2 * ndf, ndf)
        self.conv1, self.conv2 = same(ndf, ndf), same(ndf, ndf)
        self.logits = nn.Conv2d(ndf, 1, 3, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, channels, H, W), of at least 8x8, to logits (N, 1, H, W)."""
        skips = [self.stem(image)]
        for down in (self.down1, self.down2, self.down3):
            skips.append(down(skips[-1]))
        features = skips.pop()
        for up in (self.up1, self.up2, self.up3):
            skip = skips.pop()
            features = up(interpolate(features, size=skip.shape[2:], mode="bilinear", align_corners=False)) + skip
        return cast(Tensor, self.logits(self.conv2(self.conv1(features))))


class DCGANDiscriminator(nn.Module):
    """Convolutions `conv1` .. `convL` that halve the size down to 4x4, and one logit per image (Radford et al. 2016).

    As published, the first convolution has no batch norm. The kernels are 4x4, as in most implementations, not 5x5.

    Args:
        channels: channels of the input.
        size: height and width of the input, 8, 16, 32 and so on.
        ndf: width of `conv1`, doubled by each of the others.
        gate: inserted after the norm and before the activation of every convolution except `head`.

    Raises:
        RecipeError: the size is not a power of two from 8 up.
    """

    def __init__(self, channels: int, size: int, ndf: int, gate: Gate) -> None:
        super().__init__()
        if size < LEAST_SIZE or size & (size - 1):
            lower = 1 << max(size, 1).bit_length() - 1
            nearest = f"{lower} or {2 * lower}" if size > LEAST_SIZE else str(LEAST_SIZE)
            raise RecipeError(f"size = {size}: DCGAN's discriminator expects a power of two from {LEAST_SIZE} up, such as {nearest}")
        before = channels
        for level in range(1, size.bit_length() - 2):
            width = ndf << (level - 1)
            normed = level > 1
            norm = nn.BatchNorm2d(width) if normed else nn.Identity()
            convolution = nn.Conv2d(before, width, 4, 2, 1, bias=not normed)
            self.add_module(f"conv{level}", nn.Sequential(convolution, norm, gate(width), nn.LeakyReLU(0.2)))
            before = width
        self.head = nn.Conv2d(before, 1, 4)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, channels, S, S) to logits (N, 1, 1, 1)."""
        for layer in self.children():
            image = layer(image)
        return image

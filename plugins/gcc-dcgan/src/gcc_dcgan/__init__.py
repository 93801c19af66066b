"""DCGAN: images from noise by transposed convolutions and batch norm (Radford et al. 2016)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gcc.errors import RecipeError
from gcc.models.discriminators import DCGANDiscriminator
from gcc.models.tasks import FromNoise, NoiseRecipe
from gcc.recipe import GanMode
from gcc.registry import Gate, Taps, Width, no_gate


@dataclass(frozen=True, kw_only=True)
class DCGANRecipe(NoiseRecipe):
    """The paper's training (section 4), which has no student; the paper does not state the number of epochs."""

    size: int = 64
    ngf: int = 128
    ndf: int = 128
    prune_width: int = 128
    epochs: int = 25
    batch_size: int = 128
    gan_mode: GanMode = "vanilla"
    z_dim: int = 100


class Generator(nn.Module):
    """Transposed convolutions `up1` .. `up{levels}`, from 4x4 to half the image's size, and `head`, which returns the image.

    Args:
        widths: channels of `up1` .. `up{levels}`.
        z_dim: length of the noise vector.
        channels: channels of the image.
        levels: number of levels; the image has 2^(levels + 2) pixels on each side.
    """

    def __init__(self, widths: Mapping[str, int], z_dim: int, channels: int, levels: int) -> None:
        super().__init__()
        before = z_dim
        for level in range(1, levels + 1):
            width = widths[f"up{level}"]
            stride, padding = (2, 1) if level > 1 else (1, 0)
            convolution = nn.ConvTranspose2d(before, width, 4, stride, padding, bias=False)
            self.add_module(f"up{level}", nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU()))
            before = width
        self.head = nn.Sequential(nn.ConvTranspose2d(before, channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Map noise (N, Z) to images (N, C, S, S) in [-1, 1]."""
        features = z[:, :, None, None]
        for layer in self.children():
            features = layer(features)
        return features


class DCGAN(FromNoise[DCGANRecipe]):
    """DCGAN: images from noise by transposed convolutions and batch norm."""

    def __init__(self, recipe: DCGANRecipe) -> None:
        super().__init__(recipe)
        if not 32 <= recipe.size <= 512 or recipe.size & (recipe.size - 1):
            raise RecipeError(f"size = {recipe.size}: DCGAN expects a power of two from 32 to 512, such as 64")
        self.levels = recipe.size.bit_length() - 3

    @classmethod
    def published(cls) -> DCGANRecipe:
        return DCGANRecipe()

    @classmethod
    def demo(cls) -> DCGANRecipe:
        return DCGANRecipe(
            size=32,
            ngf=32,
            ndf=32,
            prune_width=32,
            budget="40%",
            epochs=36,
            batch_size=32,
            lr_g=5e-4,
            lr_d=5e-4,
            lr_alpha=1e-2,
            alpha_reach=0.0,
        )

    def widths(self, base: int) -> dict[str, Width]:
        return {f"up{level}": Width(base << (self.levels - level)) for level in range(1, self.levels + 1)}

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        return Generator(widths, self.recipe.z_dim, self.recipe.output_nc, self.levels)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        return DCGANDiscriminator(self.recipe.output_nc, self.recipe.size, self.recipe.ndf, gate)

    def initialise(self, network: nn.Module) -> None:
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def sample_z(self, random: np.random.Generator) -> Tensor:
        return torch.from_numpy(random.uniform(-1, 1, self.recipe.z_dim).astype(np.float32))

    def taps(self) -> Taps:
        # The second layer and the one before the last, as in Table II for SAGAN, which also starts from noise.
        return Taps(generator=("up2.2", f"up{self.levels}.2"), discriminator=("conv2.3", f"conv{self.levels}.3"))

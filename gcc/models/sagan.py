"""SAGAN: images from noise, with self-attention and spectral norm (Zhang et al. 2019), as in its public trainer for CelebA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from gcc.errors import RecipeError
from gcc.models.layers import SelfAttention, spectral_norm
from gcc.models.tasks import FromNoise, NoiseRecipe
from gcc.recipe import MacCounter
from gcc.registry.types import Gate, Taps, Width, no_gate

ATTENDED = (16, 32)
"""Height and width of the features with self-attention in the generator."""


@dataclass(frozen=True, kw_only=True)
class SAGANRecipe(NoiseRecipe):
    """Table I's SAGAN on CelebA; other fields are those of the original trainer."""

    size: int = 64
    prune_width: int = 48
    # 15.45 M of the teacher's 23.45 M, as a share, which also suits other sizes.
    budget: str = "65.88%"
    mac_counter: MacCounter = "paper"
    batch_size: int = 64
    lr_g: float = 1e-4
    lr_d: float = 4e-4
    beta1: float = 0.0
    beta2: float = 0.9
    gamma_t: float = 100.0


class Generator(nn.Module):
    """Transposed convolutions `up1` .. `up{levels}` from 1x1 to half the image's size, and `head`, which returns the image.

    Args:
        channels: channels of the images.
        widths: channels of `up1` .. `up{levels}`.
        z_dim: length of the noise vector.
        levels: number of levels; the image has 2^(levels + 2) pixels on each side.
    """

    def __init__(self, channels: int, widths: Mapping[str, int], z_dim: int, levels: int) -> None:
        super().__init__()
        before = z_dim
        for level in range(1, levels + 1):
            width, size = widths[f"up{level}"], 2 << level
            convolution = nn.ConvTranspose2d(before, width, 4, *((2, 1) if level > 1 else ()))
            self.add_module(f"up{level}", nn.Sequential(spectral_norm(convolution), nn.BatchNorm2d(width), nn.ReLU()))
            if size in ATTENDED:
                self.add_module(f"attention{level}", SelfAttention(width))
            before = width
        self.head = nn.Sequential(nn.ConvTranspose2d(before, channels, 4, 2, 1), nn.Tanh())

    def forward(self, z: Tensor) -> Tensor:
        """Map noise (N, Z) to images (N, channels, S, S) in [-1, 1]."""
        features = z[:, :, None, None]
        for layer in self.children():
            features = layer(features)
        return features


class Discriminator(nn.Module):
    """Convolutions `conv1` .. `conv{levels}` that halve the size down to 4x4, attention after the last two, and one logit per image.

    Args:
        channels: channels of the input.
        ndf: width of the first convolution, doubled by each of the others.
        levels: number of these convolutions.
        gate: inserted before the activation of each of them.
    """

    def __init__(self, channels: int, ndf: int, levels: int, gate: Gate) -> None:
        super().__init__()
        before = channels
        for level in range(1, levels + 1):
            width = ndf << (level - 1)
            convolution = spectral_norm(nn.Conv2d(before, width, 4, 2, 1))
            self.add_module(f"conv{level}", nn.Sequential(convolution, gate(width), nn.LeakyReLU(0.1)))
            if level > levels - 2:
                self.add_module(f"attention{level}", SelfAttention(width))
            before = width
        self.head = nn.Conv2d(before, 1, 4)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, channels, S, S) to logits (N, 1, 1, 1)."""
        for layer in self.children():
            image = layer(image)
        return image


class SAGAN(FromNoise[SAGANRecipe]):
    """SAGAN: images from noise, with self-attention and spectral norm."""

    def __init__(self, recipe: SAGANRecipe) -> None:
        super().__init__(recipe)
        if recipe.size < 32 or recipe.size & (recipe.size - 1):
            lower = max(32, 1 << recipe.size.bit_length() - 1)
            raise RecipeError(f"size = {recipe.size}: SAGAN expects a power of two from 32 up, such as {lower} or {2 * lower}")
        self.levels = recipe.size.bit_length() - 3

    @classmethod
    def published(cls) -> SAGANRecipe:
        return SAGANRecipe()

    @classmethod
    def demo(cls) -> SAGANRecipe:
        return SAGANRecipe(
            size=32,
            ngf=32,
            ndf=32,
            prune_width=24,
            budget="50%",
            mac_counter="exact",
            epochs=24,
            batch_size=32,
            lr_g=5e-4,
            lr_d=1e-3,
            lr_alpha=1e-2,
            alpha_reach=0.0,
        )

    def widths(self, base: int) -> dict[str, Width]:
        return {f"up{level}": Width(base << (self.levels - level)) for level in range(1, self.levels + 1)}

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        return Generator(self.recipe.output_nc, widths, self.recipe.z_dim, self.levels)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        return Discriminator(self.recipe.output_nc, self.recipe.ndf, self.levels, gate)

    def taps(self) -> Taps:
        # Convolutions 2 and 4 of 5 at 64x64: the second, and the one before the last.
        return Taps(generator=("up2.2", f"up{self.levels}.2"), discriminator=("conv2.2", f"conv{self.levels}.2"))

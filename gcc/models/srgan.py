"""SRGAN: super-resolution of photographs (Ledig et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from gcc.errors import RecipeError
from gcc.models.layers import Residual, ends_of_parts
from gcc.models.tasks import SuperResolution, SuperResolutionRecipe
from gcc.recipe import GanMode, MacCounter, Schedule, nearest_sizes
from gcc.registry.types import Gate, Taps, Width, no_gate


@dataclass(frozen=True, kw_only=True)
class SRGANRecipe(SuperResolutionRecipe):
    """Table I's SRGAN on COCO; other fields are those of the original trainer."""

    ranges = {**SuperResolutionRecipe.ranges, "n_blocks": (1, 100)}

    size: int = 96
    prune_width: int = 24
    # 22.79 G of the teacher's 145.88 G, as a share, which also suits other sizes.
    budget: str = "15.62%"
    mac_counter: MacCounter = "paper"
    evaluators: str = "psnr_y,ssim_y"
    pretrain_epochs: int = 130
    epochs: int = 30
    decay_fraction: float = 0.5
    schedule: Schedule = "step"
    batch_size: int = 16
    lr_g: float = 1e-4
    lr_d: float = 1e-4
    beta1: float = 0.9
    gan_mode: GanMode = "vanilla"
    lambda_gan: float = 1e-3
    gamma_m: float = 0.1
    gamma_t: float = 0.1
    n_blocks: int = 16
    """Number of residual blocks of the generator."""


def residual_block(trunk: int, width: int) -> Residual:
    """Return a residual block with `width` channels inside; with 0, an empty one."""
    if not width:
        return Residual()
    return Residual(
        nn.Conv2d(trunk, width, 3, 1, 1), nn.BatchNorm2d(width), nn.PReLU(), nn.Conv2d(width, trunk, 3, 1, 1), nn.BatchNorm2d(trunk)
    )


class SRResNet(nn.Module):
    """SRResNet: residual blocks at low resolution, then sub-pixel convolutions, which each double height and width.

    Args:
        channels: channels of the images, small and large.
        widths: channels of `trunk`, which runs from the stem to the head, and of `block1`, `block2`, ... (inside the block).
        count: number of blocks.
        doublings: log2 of the scale.
    """

    def __init__(self, channels: int, widths: Mapping[str, int], count: int, doublings: int) -> None:
        super().__init__()
        trunk = widths["trunk"]
        self.stem = nn.Sequential(nn.Conv2d(channels, trunk, 9, 1, 4), nn.PReLU())
        self.blocks = nn.Sequential(*(residual_block(trunk, widths[f"block{number}"]) for number in range(1, count + 1)))
        self.joint = nn.Sequential(nn.Conv2d(trunk, trunk, 3, 1, 1), nn.BatchNorm2d(trunk))
        self.ups = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(trunk, 4 * trunk, 3, 1, 1), nn.PixelShuffle(2), nn.PReLU()) for _ in range(doublings))
        )
        self.head = nn.Sequential(nn.Conv2d(trunk, channels, 9, 1, 4), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, channels, H, W) in [-1, 1] to one of `scale` times its height and width; H and W are arbitrary."""
        stem = self.stem(image)
        return cast(Tensor, self.head(self.ups(stem + self.joint(self.blocks(stem)))))


class Discriminator(nn.Module):
    """Four convolutions, the second and fourth of stride 2, and one logit per image from the mean of their features.

    The published discriminator has eight convolutions and two linear layers; Table II counts four, like the code of the paper's authors.

    Args:
        channels: channels of the input.
        ndf: width of `conv1` and `conv2`; the others have twice as many.
        gate: inserted after the norm of each convolution; a linear layer returns the logit.
    """

    def __init__(self, channels: int, ndf: int, gate: Gate) -> None:
        super().__init__()
        before = channels
        for number, (width, stride) in enumerate([(ndf, 1), (ndf, 2), (2 * ndf, 1), (2 * ndf, 2)], start=1):
            norm = nn.BatchNorm2d(width) if number > 1 else nn.Identity()
            convolution = nn.Conv2d(before, width, 3, stride, 1)
            self.add_module(f"conv{number}", nn.Sequential(convolution, norm, gate(width), nn.LeakyReLU(0.2)))
            before = width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(before, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, channels, H, W) to logits (N, 1)."""
        for layer in self.children():
            image = layer(image)
        return image


class SRGAN(SuperResolution[SRGANRecipe]):
    """SRGAN: super-resolution of photographs by 2, 4 or 8."""

    channels_last = True

    def __init__(self, recipe: SRGANRecipe) -> None:
        super().__init__(recipe)
        if recipe.size < 16 or recipe.size % recipe.scale:
            nearest = nearest_sizes(recipe, recipe.scale, 16)
            raise RecipeError(f"size = {recipe.size}: expected a multiple of {recipe.scale}, the scale, from 16 up, such as {nearest}")
        self.doublings = recipe.scale.bit_length() - 1

    @classmethod
    def published(cls) -> SRGANRecipe:
        return SRGANRecipe()

    @classmethod
    def demo(cls) -> SRGANRecipe:
        return SRGANRecipe(
            size=64,
            ngf=24,
            ndf=16,
            prune_width=16,
            budget="40%",
            mac_counter="exact",
            pretrain_epochs=12,
            epochs=10,
            batch_size=8,
            perceptual="pixel",
            cost_size=32,
            lr_g=1e-3,
            lr_d=1e-3,
            lr_alpha=2e-2,
            alpha_reach=0.0,
        )

    def widths(self, base: int) -> dict[str, Width]:
        return {"trunk": Width(base)} | {f"block{number}": Width(base, minimum=0) for number in range(1, self.recipe.n_blocks + 1)}

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        return SRResNet(self.recipe.output_nc, widths, self.recipe.n_blocks, self.doublings)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        return Discriminator(self.recipe.output_nc, self.recipe.ndf, gate)

    def taps(self) -> Taps:
        # Convolutions 9, 17, 25 and 33 of 37: of 16 blocks, every fourth one; of another number, the blocks at each quarter.
        blocks = tuple(f"blocks.{number - 1}" for number in ends_of_parts(self.recipe.n_blocks, 4))
        return Taps(generator=blocks, discriminator=("conv2.3", "conv4.3"))

    @property
    def receptive_field_radius(self) -> int:
        # The radii of the kernels at low resolution, and upper bounds for those at higher resolutions.
        return 4 + 2 * self.recipe.n_blocks + 1 + self.doublings + 4

    @property
    def size_multiple(self) -> int:
        return 1

"""Pix2Pix: paired image translation with a U-Net and a conditional PatchGAN (Isola et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from gcc.errors import RecipeError
from gcc.models.external_weights import PATCH, foreign_norm, is_kernel, map_patch_discriminator
from gcc.models.layers import Norm, PatchDiscriminator, initialise_normal, norm_layer
from gcc.models.resnet import (
    IMPORTABLE,
    RESNET_RANGES,
    STRIDE,
    Blocks,
    ResNetGenerator,
    map_resnet_state_dict,
    require_size,
    resnet_taps,
    resnet_widths,
)
from gcc.models.tasks import PairedRecipe, PairedTranslation
from gcc.recipe import MacCounter, image_size, nearest_sizes, size_text
from gcc.registry.types import Gate, StateDictMapping, Taps, Width, no_gate

SHALLOWEST, DEEPEST = 5, 8
"""The fewest levels of a U-Net, and the most that a size gives it by default."""


@dataclass(frozen=True, kw_only=True)
class Pix2PixRecipe(PairedRecipe):
    """Table I's Pix2Pix on Cityscapes; other fields are those of the original trainer."""

    ranges = {**PairedRecipe.ranges, **RESNET_RANGES, "depth": (SHALLOWEST, 14)}

    size: int = 256
    ndf: int = 128
    prune_width: int = 32
    # 3.0 G of the teacher's 18.15 G, as a share, which also suits other sizes.
    budget: str = "16.52%"
    mac_counter: MacCounter = "paper"
    evaluators: str = "l1,psnr"
    epochs: int = 250
    decay_fraction: float = 0.6
    lambda_d: float = 0.5
    gamma_m: float = 50.0
    gamma_t: float = 1e4
    tau: float = 0.5
    generator: Literal["unet", Blocks] = "unet"
    """The U-Net, or a ResNet with plain (`resnet`) or depthwise-separable (`mobile`) blocks."""
    depth: int | None = None
    """Number of levels of the U-Net; sizes are multiples of 2^depth. None means as many as the size allows, up to 8."""
    n_blocks: int = 9
    """Number of residual blocks of a ResNet."""
    norm: Norm = "batch"
    """Normalisation of generator and discriminator."""
    dropout: float = 0.5
    """Dropout in the inner up levels of the U-Net, or in the blocks of the ResNet."""


class Down(nn.Sequential):
    """A down-sampling level: convolution, norm, leaky ReLU."""

    def __init__(self, before: int, width: int, norm: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, width, 4, 2, 1, bias=bias)
        self.norm = norm
        self.act = nn.LeakyReLU(0.2)


class Up(nn.Sequential):
    """An up-sampling level: ReLU of skip and inner features, transposed convolution, norm and dropout if any."""

    def __init__(self, before: int, width: int, *after: nn.Module, bias: bool) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.conv = nn.ConvTranspose2d(before, width, 4, 2, 1, bias=bias)
        for name, module in zip(("norm", "dropout"), after, strict=False):
            self.add_module(name, module)


class UNet(nn.Module):
    """A U-Net whose level k halves the resolution in `down{k}` and doubles it in `up{k}`, which reads `down{k}` and `up{k+1}`.

    The leaky ReLU of a down level comes before the skip connection; with the ReLU after it, that equals the original order.

    Args:
        channels: channels of the input and of the output.
        widths: channels of `down1` .. `down{depth}` and `up2` .. `up{depth}`; the U-Net ends at the first level without channels.
        depth: levels of the full network.
        norm: normalisation of all levels except the outermost, and except `down{depth}`, the innermost down level of the full network.
        dropout: probability of dropout in levels 5 to depth - 1.
    """

    def __init__(self, channels: tuple[int, int], widths: Mapping[str, int], depth: int, norm: Norm, dropout: float) -> None:
        super().__init__()
        self.depth = next((k - 1 for k in range(2, depth + 1) if not (widths[f"down{k}"] and widths[f"up{k}"])), depth)
        normalise = norm_layer(norm)
        biased = norm == "instance"
        before, after = channels
        for k in range(1, self.depth + 1):
            width = widths[f"down{k}"]
            normed = 1 < k < depth
            self.add_module(f"down{k}", Down(before, width, normalise(width) if normed else nn.Identity(), bias=biased))
            before = width
        inner = 0
        for k in range(self.depth, 1, -1):
            width = widths[f"up{k}"]
            drop = [nn.Dropout(dropout)] if 5 <= k < depth else []
            self.add_module(f"up{k}", Up(widths[f"down{k}"] + inner, width, normalise(width), *drop, bias=biased))
            inner = width
        self.up1 = Up(widths["down1"] + inner, after, bias=True)
        self.tanh = nn.Tanh()

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, C, H, W) in [-1, 1] to one of the same height and width; H and W are multiples of 2^depth."""
        skips = []
        for k in range(1, self.depth + 1):
            image = cast(nn.Module, getattr(self, f"down{k}"))(image)
            skips.append(image)
        image = skips.pop()
        for k in range(self.depth, 0, -1):
            image = cast(nn.Module, getattr(self, f"up{k}"))(image)
            if skips:
                image = torch.cat([skips.pop(), image], dim=1)
        return cast(Tensor, self.tanh(image))


def _map_unet_state_dict(tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
    """Return how to read the U-Net of pytorch-CycleGAN-and-pix2pix, in which levels are nested; None if it is not that."""
    if not is_kernel(tensors, "model.model.0.weight"):
        return None
    modules, level, depth = {"down1.conv": "model.model.0", "up1.conv": "model.model.3"}, "model.model.1.model", 2
    while f"{level}.5.weight" in tensors:
        modules |= {f"down{depth}.conv": f"{level}.1", f"down{depth}.norm": f"{level}.2"}
        modules |= {f"up{depth}.conv": f"{level}.5", f"up{depth}.norm": f"{level}.6"}
        level, depth = f"{level}.3.model", depth + 1
    modules |= {f"down{depth}.conv": f"{level}.1", f"up{depth}.conv": f"{level}.3", f"up{depth}.norm": f"{level}.4"}
    norm, ignored = foreign_norm(tensors, f"{level}.4")
    first, last = tensors["model.model.0.weight"], tensors.get("model.model.3.weight")
    channels = {"input_nc": first.shape[1]} | ({} if last is None else {"output_nc": last.shape[1]})
    settings = {"generator": "unet", "ngf": first.shape[0], "depth": depth, "size": 1 << depth, "norm": norm} | channels
    return StateDictMapping(settings, modules, ignored)


class Pix2Pix(PairedTranslation[Pix2PixRecipe]):
    """Pix2Pix: paired image translation, U-Net generator and conditional PatchGAN."""

    importable = {
        "generator": f"the U-Net of pytorch-CycleGAN-and-pix2pix with model.model.0.weight, or {IMPORTABLE}",
        "discriminator": PATCH,
    }

    def __init__(self, recipe: Pix2PixRecipe) -> None:
        super().__init__(recipe)
        width, height = image_size(recipe)
        common = math.gcd(width, height)
        # The largest power of two that divides both sides.
        self.depth = recipe.depth or min(DEEPEST, (common & -common).bit_length() - 1)
        levels = max(self.depth, SHALLOWEST)
        if recipe.generator == "unet" and common % (1 << levels):
            nearest = nearest_sizes(recipe, 1 << levels, 1 << levels)
            sides = f"size = {size_text(recipe)}: Pix2Pix's U-Net of {levels} levels expects"
            raise RecipeError(f"{sides} {'a multiple' if width == height else 'multiples'} of {1 << levels}, such as {nearest}")
        require_size(recipe)

    @classmethod
    def published(cls) -> Pix2PixRecipe:
        return Pix2PixRecipe()

    @classmethod
    def demo(cls) -> Pix2PixRecipe:
        return Pix2PixRecipe(
            size=64,
            ngf=32,
            ndf=32,
            budget="25%",
            mac_counter="exact",
            epochs=10,
            decay_fraction=0.5,
            batch_size=4,
            lr_alpha=2e-3,
            alpha_reach=0.0,
        )

    @property
    def size_multiple(self) -> int:
        return 1 << self.depth if self.recipe.generator == "unet" else STRIDE

    def widths(self, base: int) -> dict[str, Width]:
        if self.recipe.generator != "unet":
            return resnet_widths(base, self.recipe.n_blocks)

        def full(k: int) -> int:
            return base * min(8, 1 << (k - 1))

        down = {f"down{k}": Width(full(k), minimum=0 if k > 1 else 1) for k in range(1, self.depth + 1)}
        up = {f"up{k}": Width(full(k - 1), minimum=0) for k in range(self.depth, 1, -1)}
        return down | up

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        recipe, channels = self.recipe, (self.recipe.input_nc, self.recipe.output_nc)
        if recipe.generator == "unet":
            return UNet(channels, widths, self.depth, recipe.norm, recipe.dropout)
        return ResNetGenerator(channels, widths, recipe.n_blocks, recipe.generator, recipe.norm, recipe.dropout)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        return PatchDiscriminator(self.recipe.input_nc + self.recipe.output_nc, self.recipe.ndf, self.recipe.norm, gate)

    @classmethod
    def map_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        return _map_unet_state_dict(tensors) or map_resnet_state_dict(tensors)

    @classmethod
    def map_discriminator_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        return map_patch_discriminator(tensors)

    def fixed_by_weights(self) -> dict[str, Any]:
        return {"depth": self.depth} if self.recipe.generator == "unet" else {}

    def initialise(self, network: nn.Module) -> None:
        initialise_normal(network)

    def taps(self) -> Taps:
        # Convolutions 2, 4, 12 and 14 of 16 at depth 8. Counted from the outside, they have the same resolution in a shallower U-Net.
        unet = ("down2.act", "down4.act", "up4.act", "up2.act")
        generator = unet if self.recipe.generator == "unet" else resnet_taps(self.recipe.n_blocks)
        return Taps(generator, discriminator=("conv2.3", "conv4.3"))

"""The ResNet generator of image translation (Johnson et al. 2016; CycleGAN), with plain or depthwise-separable blocks."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count as count_from
from typing import Literal

from torch import Tensor, nn

from gcc.errors import RecipeError
from gcc.models.external_weights import foreign_norm, is_kernel
from gcc.models.layers import Norm, ReflectionPad, Residual, ends_of_parts, norm_layer
from gcc.recipe import BELOW_ONE, Recipe, image_size, nearest_sizes, size_text
from gcc.registry.types import StateDictMapping, Width

RESNET_RANGES = {**Recipe.ranges, "n_blocks": (1, 100), "dropout": BELOW_ONE}
Blocks = Literal["resnet", "mobile"]
"""Plain residual blocks, or depthwise-separable ones."""


class SeparableConv(nn.Sequential):
    """A depthwise 3x3 convolution, a norm, and a pointwise convolution: a separable pair."""

    def __init__(self, before: int, width: int, norm: nn.Module, *, bias: bool) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(before, before, 3, groups=before, bias=bias)
        self.norm = norm
        self.pointwise = nn.Conv2d(before, width, 1, bias=bias)


class ResNetGenerator(nn.Module):
    """A ResNet between two down-sampling and two up-sampling convolutions.

    Args:
        channels: channels of the input and of the output.
        widths: channels of `stem`, `down1`, `trunk`, `block1` .. `block{count}` (inside the block), `up1` and `up2`.
        count: residual blocks.
        blocks: their kind.
        norm: normalisation after every convolution except the last.
        dropout: probability of dropout inside the blocks.
    """

    def __init__(
        self, channels: tuple[int, int], widths: Mapping[str, int], count: int, blocks: Blocks, norm: Norm, dropout: float
    ) -> None:
        super().__init__()
        normalise = norm_layer(norm)
        bias = norm == "instance"

        def normed(convolution: nn.Module, width: int) -> nn.Sequential:
            return nn.Sequential(convolution, normalise(width), nn.ReLU())

        def three_by_three(before: int, width: int) -> nn.Module:
            if blocks == "mobile":
                return SeparableConv(before, width, normalise(before), bias=bias)
            return nn.Conv2d(before, width, 3, bias=bias)

        def block(width: int) -> nn.Module:
            if not width:
                return Residual()
            first = [ReflectionPad(1), three_by_three(trunk, width), normalise(width), nn.ReLU(), nn.Dropout(dropout)]
            return Residual(*first, ReflectionPad(1), three_by_three(width, trunk), normalise(trunk))

        stem, down1, trunk, up1, up2 = (widths[name] for name in ("stem", "down1", "trunk", "up1", "up2"))
        before, after = channels
        self.pad = ReflectionPad(3)
        self.stem = normed(nn.Conv2d(before, stem, 7, bias=bias), stem)
        self.down1 = normed(nn.Conv2d(stem, down1, 3, 2, 1, bias=bias), down1)
        self.down2 = normed(nn.Conv2d(down1, trunk, 3, 2, 1, bias=bias), trunk)
        for number in range(1, count + 1):
            self.add_module(f"block{number}", block(widths[f"block{number}"]))
        self.up1 = normed(nn.ConvTranspose2d(trunk, up1, 3, 2, 1, 1, bias=bias), up1)
        self.up2 = normed(nn.ConvTranspose2d(up1, up2, 3, 2, 1, 1, bias=bias), up2)
        self.head = nn.Sequential(ReflectionPad(3), nn.Conv2d(up2, after, 7), nn.Tanh())

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (N, C, H, W) in [-1, 1] to one of the same height and width; H and W are multiples of 4."""
        for layer in self.children():
            image = layer(image)
        return image


STRIDE = 4
"""Generators halve their input twice."""
SMALLEST = 32
"""The smallest height and width of training images."""


def require_size(recipe: Recipe) -> None:
    """Refuse image sizes that cannot be halved twice.

    Raises:
        RecipeError: a side is too small, or not a multiple of 4.
    """
    if any(side < SMALLEST or side % STRIDE for side in image_size(recipe)):
        raise RecipeError(
            f"size = {size_text(recipe)}: a ResNet generator expects multiples of {STRIDE} from {SMALLEST} up, such as "
            f"{nearest_sizes(recipe, STRIDE, SMALLEST)}"
        )


def resnet_widths(base: int, count: int) -> dict[str, Width]:
    """Return the prunable widths of a ResNet generator of width `base` with `count` blocks; a block can lose all of its inner channels."""
    inner = {f"block{number}": Width(4 * base, minimum=0) for number in range(1, count + 1)}
    outer = {"up1": Width(2 * base), "up2": Width(base)}
    return {"stem": Width(base), "down1": Width(2 * base), "trunk": Width(4 * base)} | inner | outer


def resnet_taps(count: int) -> tuple[str, ...]:
    """Return Table II's layers for CycleGAN, convolutions 3, 9, 15 and 21 of 24.

    With 9 blocks, these are the last down-sampling and the outputs of blocks 3, 6 and 9; with another number, of the blocks at each third.
    """
    return ("down2.2", *(f"block{number}" for number in ends_of_parts(count, 3)))


IMPORTABLE = "the ResNet of pytorch-CycleGAN-and-pix2pix with model.1.weight and model.10.conv_block.1.weight"
"""What `map_resnet_state_dict` reads, for messages."""


def map_resnet_state_dict(tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
    """Return how to read the ResNet generator of pytorch-CycleGAN-and-pix2pix, whose layers are numbered; None if it is not that."""
    if not (is_kernel(tensors, "model.1.weight") and is_kernel(tensors, "model.10.conv_block.1.weight")):
        return None
    blocks = next(number for number in count_from(1) if f"model.{10 + number}.conv_block.1.weight" not in tensors)
    # Dropout in a block shifts the numbers of the layers after it.
    shift = int(is_kernel(tensors, "model.10.conv_block.6.weight"))
    last = 10 + blocks
    modules = {"stem.0": 1, "stem.1": 2, "down1.0": 4, "down1.1": 5, "down2.0": 7, "down2.1": 8}
    modules |= {"up1.0": last, "up1.1": last + 1, "up2.0": last + 3, "up2.1": last + 4, "head.1": last + 7}
    paths = {ours: f"model.{theirs}" for ours, theirs in modules.items()}
    for block in range(1, blocks + 1):
        layers = {1: 1, 2: 2, 6: 5 + shift, 7: 6 + shift}
        paths |= {f"block{block}.{ours}": f"model.{9 + block}.conv_block.{theirs}" for ours, theirs in layers.items()}
    norm, ignored = foreign_norm(tensors, "model.2")
    first, head = tensors["model.1.weight"], tensors.get(f"model.{last + 7}.weight")
    channels = {"input_nc": first.shape[1]} | ({} if head is None else {"output_nc": head.shape[0]})
    settings = {"generator": "resnet", "ngf": first.shape[0], "n_blocks": blocks, "norm": norm, "dropout": 0.5 * shift} | channels
    return StateDictMapping(settings, paths, ignored)

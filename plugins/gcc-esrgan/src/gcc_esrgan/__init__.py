"""ESRGAN: super-resolution by residual-in-residual dense blocks (Wang et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss

from gcc.errors import RecipeError
from gcc.models.vgg import load_vgg
from gcc.recipe import LARGEST_SIZE, NON_NEGATIVE, GanMode, Recipe, Schedule
from gcc.registry import Architecture, Batch, EvalSample, Gate, Networks, Pair, Samples, Taps, Width, no_gate
from gcc.utils.weights import Weights

DENSE = 3
"""Number of dense blocks in a residual-in-residual block."""
GROWING = 4
"""Number of convolutions of a dense block whose output all later ones read as well."""
RESIDUAL_SCALE = 0.2
"""Factor of a block's output before it is added to the block's input."""


@dataclass(frozen=True, kw_only=True)
class ESRGANRecipe(Recipe):
    """The paper's training in epochs (section 4.1), which has no student."""

    ranges = {
        **Recipe.ranges,
        "blocks": (1, 64),
        **dict.fromkeys(("lambda_perceptual", "lambda_pixel"), NON_NEGATIVE),
        "cost_size": (1, LARGEST_SIZE),
    }

    size: int = 128
    metric: str = "l1"
    evaluators: str = "psnr_y"
    pretrain_epochs: int = 100
    epochs: int = 40
    decay_fraction: float = 0.5
    schedule: Schedule = "step"
    batch_size: int = 16
    lr_g: float = 1e-4
    lr_d: float = 1e-4
    beta1: float = 0.9
    gan_mode: GanMode = "vanilla"
    lambda_gan: float = 5e-3
    scale: Literal[2, 4, 8] = 4
    """Factor by which height and width grow."""
    blocks: int = 23
    """Number of residual-in-residual dense blocks."""
    perceptual: Literal["vgg19", "none"] = "vgg19"
    """Content loss in addition to that on pixels: on features of VGG19's layer 5-4 (ImageNet weights), or none."""
    lambda_perceptual: float = 1.0
    """Weight of the features in the content loss."""
    lambda_pixel: float = 1e-2
    """Weight of the pixels in the content loss."""
    cost_size: int = 128
    """Height and width of the generator's input for which costs are computed."""


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
        doublings: log2 of the scale.
    """

    def __init__(self, widths: Mapping[str, int], blocks: int, doublings: int) -> None:
        super().__init__()
        trunk = widths["trunk"]
        self.stem = nn.Conv2d(3, trunk, 3, 1, 1)
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
        """Map an image (N, 3, H, W) in [-1, 1] to one of `scale` times its height and width; H and W are arbitrary."""
        stem = self.stem(image)
        return cast(Tensor, self.head(self.last(self.ups(stem + self.joint(self.blocks(stem))))))


def growing(block: int, dense: int) -> list[str]:
    """Return the width names of a dense block's growing convolutions."""
    return [f"block{block}.dense{dense}.conv{number}" for number in range(1, GROWING + 1)]


class Discriminator(nn.Module):
    """Four convolutions, the second and fourth of stride 2, and one logit per image from the mean of their features.

    Args:
        ndf: width of `conv1` and `conv2`; the others have twice as many.
        gate: inserted after the norm of each convolution; a linear layer returns the logit.
    """

    def __init__(self, ndf: int, gate: Gate) -> None:
        super().__init__()
        before = 3
        for number, (width, stride) in enumerate([(ndf, 1), (ndf, 2), (2 * ndf, 1), (2 * ndf, 2)], start=1):
            norm = nn.BatchNorm2d(width) if number > 1 else nn.Identity()
            convolution = nn.Conv2d(before, width, 3, stride, 1)
            self.add_module(f"conv{number}", nn.Sequential(convolution, norm, gate(width), nn.LeakyReLU(0.2)))
            before = width
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(before, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Map images (N, 3, H, W) to logits (N, 1)."""
        for layer in self.children():
            image = layer(image)
        return image


class ESRGAN(Architecture[ESRGANRecipe]):
    """ESRGAN: super-resolution by residual-in-residual dense blocks."""

    samples = "super-resolution"
    demo_source = "scenes"

    def __init__(self, recipe: ESRGANRecipe) -> None:
        super().__init__(recipe)
        if recipe.size < 16 or recipe.size % recipe.scale:
            raise RecipeError(f"size = {recipe.size}: expected a multiple of {recipe.scale}, the scale, from 16 up, such as 128")
        self.doublings = recipe.scale.bit_length() - 1

    @classmethod
    def published(cls) -> ESRGANRecipe:
        return ESRGANRecipe()

    @classmethod
    def demo(cls) -> ESRGANRecipe:
        return ESRGANRecipe(
            size=64,
            ngf=16,
            ndf=16,
            prune_width=16,
            blocks=2,
            perceptual="none",
            budget="40%",
            pretrain_epochs=16,
            epochs=10,
            batch_size=8,
            lambda_pixel=1.0,
            cost_size=32,
            lr_g=1e-3,
            lr_d=1e-3,
            lr_alpha=2e-2,
        )

    def widths(self, base: int) -> dict[str, Width]:
        growth = Width(max(1, base // 2), minimum=0)
        names = [name for block in range(1, self.recipe.blocks + 1) for dense in range(1, DENSE + 1) for name in growing(block, dense)]
        ends = [*(f"up{level}" for level in range(1, self.doublings + 1)), "last"]
        return {"trunk": Width(base)} | dict.fromkeys(names, growth) | dict.fromkeys(ends, Width(base))

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        return RRDBNet(widths, self.recipe.blocks, self.doublings)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        return Discriminator(self.recipe.ndf, gate)

    def initialise(self, network: nn.Module) -> None:
        # A tenth of He's standard deviation in the blocks, so that residuals start small (section 3.1).
        dense = [module for module in network.modules() if isinstance(module, Dense)]
        for layer in (layer for block in dense for layer in block.modules() if isinstance(layer, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data *= 0.1
            nn.init.zeros_(cast(Tensor, layer.bias))

    def build_auxiliary(self, weights: Weights) -> dict[str, nn.Module]:
        vgg = self.recipe.perceptual
        return {} if vgg == "none" else {"vgg": load_vgg(vgg, weights, "--set perceptual=none needs no weights")}

    def example_input(self) -> Tensor:
        return torch.zeros(1, 3, self.recipe.cost_size, self.recipe.cost_size)

    def example_batch(self) -> Batch:
        small = self.recipe.size // self.recipe.scale
        return {"hr": torch.zeros(1, 3, self.recipe.size, self.recipe.size), "lr": torch.zeros(1, 3, small, small)}

    def prepare(self, batch: Batch, auxiliary: Networks) -> Batch:
        return {**batch, "wanted": auxiliary["vgg"](batch["hr"])} if auxiliary else batch

    def generate(self, generators: Networks, batch: Batch) -> Samples:
        return {"sr": generators["G"](batch["lr"])}

    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        return {"D": Pair(batch["hr"], samples["sr"])}

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        losses = {"pixel": self.recipe.lambda_pixel * l1_loss(samples["sr"].float(), batch["hr"])}
        if "vgg" in networks:
            features = networks["vgg"](samples["sr"]).float()
            losses["perceptual"] = self.recipe.lambda_perceptual * l1_loss(features, batch["wanted"].float())
        return losses

    def pretraining_losses(self, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        return {"pixel": l1_loss(samples["sr"].float(), batch["hr"])}

    def taps(self) -> Taps:
        # After each quarter of the blocks, as in Table II for SRGAN.
        ends = dict.fromkeys(-(-quarter * self.recipe.blocks // 4) - 1 for quarter in (1, 2, 3, 4))
        return Taps(generator=tuple(f"blocks.{end}" for end in ends), discriminator=("conv2.3", "conv4.3"))

    @property
    def receptive_field_radius(self) -> int:
        # The radii of the kernels at low resolution, and upper bounds for those at higher resolutions.
        return 1 + self.recipe.blocks * DENSE * (GROWING + 1) + 1 + self.doublings + 2

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        bicubic = interpolate(batch["lr"], scale_factor=self.recipe.scale, mode="bicubic").clamp(-1, 1)
        return {"bicubic": bicubic} | {title: samples["sr"].clamp(-1, 1) for title, samples in fake.items()} | {"real": batch["hr"]}

    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        return {"G": EvalSample(batch, samples["sr"].clamp(-1, 1), source="lr", target="hr")}

"""The tasks of GANs: what a training batch is, what the discriminators compare, which losses there are, and what evaluators judge.

A task is an `Architecture` without networks. A family adds its generator and discriminator; `gcc.custom` adds those that a user brings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, l1_loss, mse_loss

from gcc.errors import RecipeError
from gcc.models.channels import as_rgb
from gcc.models.vgg import load_vgg
from gcc.recipe import CHANNELS, LARGEST_SIZE, NON_NEGATIVE, RGB, Recipe, image_channels, image_size
from gcc.registry.architecture import Architecture
from gcc.registry.types import Batch, EvalSample, Networks, Pair, Samples
from gcc.utils.weights import Weights

ALTERNATIVE = '`perceptual="pixel"` and `perceptual="none"` need no weights'

CHANNEL_RANGES = dict.fromkeys(("input_nc", "output_nc"), CHANNELS)


def example_image(recipe: Recipe, channels: int) -> Tensor:
    """Return zeros of the shape of one training image, (1, channels, H, W)."""
    width, height = image_size(recipe)
    return torch.zeros(1, channels, height, width)


@dataclass(frozen=True, kw_only=True)
class PairedRecipe(Recipe):
    """Settings of paired image translation."""

    ranges = {**Recipe.ranges, **CHANNEL_RANGES, "lambda_L1": NON_NEGATIVE, "image_width": (1, LARGEST_SIZE)}

    image_width: int | None = None
    """Width of the training images if they are not squares; `size` is then the height. `--size WxH` sets both."""
    direction: Literal["AtoB", "BtoA"] = "AtoB"
    """Which image of a pair is the input."""
    input_nc: int = RGB
    """Number of channels of the generator's input."""
    output_nc: int = RGB
    """Number of channels of the generator's output."""
    lambda_L1: float = 100.0  # noqa: N815 - the name that pix2pix users know
    """Weight of the L1 distance to the real image."""


P = TypeVar("P", bound=PairedRecipe)


class PairedTranslation(Architecture[P]):
    """Translates the image A of a pair to B; the discriminator gets the input and a real or fake output (Isola et al. 2017)."""

    samples = "paired"
    demo_source = "streets"

    @property
    def note(self) -> str:
        source, target = ("A (left)", "B (right)") if self.recipe.direction == "AtoB" else ("B (right)", "A (left)")
        return f"direction {self.recipe.direction}: of each pair, {source} is the input, and {target} is learnt"

    def example_input(self) -> Tensor:
        return example_image(self.recipe, self.recipe.input_nc)

    def example_batch(self) -> Batch:
        return {key: example_image(self.recipe, channels) for key, channels in zip("AB", image_channels(self.recipe), strict=True)}

    def source(self, batch: Batch) -> Tensor:
        """Return the images that are translated."""
        return batch[self.recipe.direction[0]]

    def target(self, batch: Batch) -> Tensor:
        """Return the real images of the other kind."""
        return batch[self.recipe.direction[-1]]

    def generate(self, generators: Networks, batch: Batch) -> Samples:
        return {"fake": generators["G"](self.source(batch))}

    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        source = self.source(batch)
        return {"D": Pair(torch.cat([source, self.target(batch)], 1), torch.cat([source, samples["fake"]], 1))}

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        return {"L1": self.recipe.lambda_L1 * l1_loss(samples["fake"].float(), self.target(batch))}

    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        columns = {title: samples["fake"] for title, samples in fake.items()}
        return {"input": self.source(batch), **columns, "real": self.target(batch)}

    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        direction = self.recipe.direction
        return {"G": EvalSample(batch, samples["fake"], source=direction[0], target=direction[-1])}


@dataclass(frozen=True, kw_only=True)
class SuperResolutionRecipe(Recipe):
    """Settings of super-resolution."""

    ranges = {
        **Recipe.ranges,
        "output_nc": CHANNELS,
        "lambda_perceptual": NON_NEGATIVE,
        "lambda_pixel": NON_NEGATIVE,
        "cost_size": (1, LARGEST_SIZE),
    }

    scale: Literal[2, 4, 8] = 4
    """Factor by which height and width grow."""
    output_nc: int = RGB
    """Channels of the images, small and large."""
    perceptual: Literal["vgg19", "vgg16", "pixel", "none"] = "vgg19"
    """Content loss on features of VGG19's layer 5-4 or VGG16's 5-3 (ImageNet weights), on pixels, or none."""
    lambda_perceptual: float = 1.0
    """Weight of the content loss."""
    lambda_pixel: float = 0.0
    """Weight of an additional mean squared error of pixels."""
    cost_size: int = 256
    """Height and width of the generator's input for which costs are computed."""


S = TypeVar("S", bound=SuperResolutionRecipe)


class SuperResolution(Architecture[S]):
    """Enlarges photographs; the discriminator gets real and fake large ones (Ledig et al. 2017)."""

    samples = "super-resolution"
    demo_source = "scenes"

    def __init__(self, recipe: S) -> None:
        super().__init__(recipe)
        if recipe.perceptual in ("vgg19", "vgg16") and recipe.output_nc not in (1, RGB):
            raise RecipeError(
                f"output_nc = {recipe.output_nc}: {recipe.perceptual} compares RGB images, or grey ones; "
                f"{ALTERNATIVE} and take any channels"
            )

    @property
    def note(self) -> str:
        match self.recipe.perceptual:
            case "pixel":
                return "the content loss compares pixels, not VGG19's features (perceptual = pixel)"
            case "none":
                return "there is no content loss (perceptual = none)"
            case "vgg16":
                return "the content loss compares features of VGG16, not of VGG19 (perceptual = vgg16)"
        return ""

    def build_auxiliary(self, weights: Weights) -> dict[str, nn.Module]:
        vgg = self.recipe.perceptual
        return {"vgg": load_vgg(vgg, weights, ALTERNATIVE)} if vgg in ("vgg19", "vgg16") else {}

    def example_input(self) -> Tensor:
        return torch.zeros(1, self.recipe.output_nc, self.recipe.cost_size, self.recipe.cost_size)

    def example_batch(self) -> Batch:
        channels, size, small = self.recipe.output_nc, self.recipe.size, self.recipe.size // self.recipe.scale
        return {"hr": torch.zeros(1, channels, size, size), "lr": torch.zeros(1, channels, small, small)}

    def prepare(self, batch: Batch, auxiliary: Networks) -> Batch:
        return {**batch, "wanted": auxiliary["vgg"](as_rgb(batch["hr"]))} if auxiliary else batch

    def generate(self, generators: Networks, batch: Batch) -> Samples:
        return {"sr": generators["G"](batch["lr"])}

    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        return {"D": Pair(batch["hr"], samples["sr"])}

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        recipe, losses = self.recipe, {}
        if "vgg" in networks:
            features = networks["vgg"](as_rgb(samples["sr"]))
            losses["perceptual"] = recipe.lambda_perceptual * mse_loss(features.float(), batch["wanted"].float())
        pixel = recipe.lambda_pixel + (recipe.lambda_perceptual if recipe.perceptual == "pixel" else 0.0)
        if pixel:
            losses["pixel"] = pixel * mse_loss(samples["sr"].float(), batch["hr"])
        return losses

    def pretraining_losses(self, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        return {"pixel": mse_loss(samples["sr"].float(), batch["hr"])}

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        return height, width

    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        bicubic = interpolate(batch["lr"], scale_factor=self.recipe.scale, mode="bicubic").clamp(-1, 1)
        return {"bicubic": bicubic} | {title: samples["sr"] for title, samples in fake.items()} | {"real": batch["hr"]}

    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        return {"G": EvalSample(batch, samples["sr"], source="lr", target="hr")}


@dataclass(frozen=True, kw_only=True)
class NoiseRecipe(Recipe):
    """Settings of the generation of images from noise."""

    ranges = {**Recipe.ranges, "output_nc": CHANNELS, "z_dim": (1, 65536)}

    z_dim: int = 128
    """Length of the noise vector from which an image is generated."""
    output_nc: int = RGB
    """Channels of the images."""


N = TypeVar("N", bound=NoiseRecipe)


class FromNoise(Architecture[N]):
    """Generates images from noise; the discriminator gets real and fake ones (Goodfellow et al. 2014)."""

    samples = "images"
    paired = False
    demo_source = "portraits"

    def example_input(self) -> Tensor:
        return torch.zeros(1, self.recipe.z_dim)

    def example_batch(self) -> Batch:
        return {"real": example_image(self.recipe, self.recipe.output_nc), "z": self.example_input()}

    def sample_z(self, random: np.random.Generator) -> Tensor:
        return torch.from_numpy(random.standard_normal(self.recipe.z_dim, dtype=np.float32))

    def generate(self, generators: Networks, batch: Batch) -> Samples:
        return {"fake": generators["G"](batch["z"])}

    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        return {"D": Pair(batch["real"], samples["fake"])}

    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        return {title: samples["fake"] for title, samples in fake.items()} | {"real": batch["real"]}

    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        return {"G": EvalSample(batch, samples["fake"], source="z", target="real")}

"""The tasks for which a user can bring networks, each with a recipe and a default discriminator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from gcc.custom.gan import CustomGAN
from gcc.errors import GccError, RecipeError
from gcc.models.discriminators import LEAST_SIZE, DCGANDiscriminator, UNetDiscriminator
from gcc.models.layers import PatchDiscriminator
from gcc.models.tasks import (
    CHANNEL_RANGES,
    FromNoise,
    NoiseRecipe,
    PairedRecipe,
    PairedTranslation,
    SuperResolution,
    SuperResolutionRecipe,
    example_image,
)
from gcc.models.value_range import USUAL, OutputInRange, ValueRange
from gcc.recipe import CHANNELS, LARGEST_SIZE, RGB, GanMode, Recipe, size_fields
from gcc.registry import Batch, EvalSample, Gate, Networks, Pair, Samples


@dataclass(frozen=True, kw_only=True)
class CustomPairedRecipe(PairedRecipe):
    """Paired translation by a generator that a user brings; the losses are those of Pix2Pix."""

    size: int = 256
    metric: str = "l1"
    evaluators: str = "l1,psnr"
    epochs: int = 50
    decay_fraction: float = 0.5
    lambda_d: float = 0.5
    start: Literal["fresh", "inherited"] = "inherited"


class Paired(CustomGAN[CustomPairedRecipe], PairedTranslation[CustomPairedRecipe]):
    """Paired translation by your own generator."""

    @classmethod
    def published(cls) -> CustomPairedRecipe:
        return CustomPairedRecipe()

    @classmethod
    def input_shape_of(cls, recipe: CustomPairedRecipe) -> tuple[int, ...]:
        return tuple(example_image(recipe, recipe.input_nc).shape)

    @classmethod
    def settings_of(cls, input_shape: Sequence[int], output_shape: Sequence[int]) -> dict[str, Any]:
        return translation_settings("paired", input_shape, output_shape)

    def default_discriminator(self, gate: Gate) -> nn.Module:
        return PatchDiscriminator(self.recipe.input_nc + self.recipe.output_nc, self.recipe.ndf, "batch", gate)

    @property
    def how_to_wrap(self) -> str:
        source, target, channels = self.recipe.direction[0], self.recipe.direction[-1], self.recipe.input_nc
        return (
            f"it gets torch.cat([{source}, {target}], 1) as one tensor xy; wrap it in a module whose forward(self, xy) returns "
            f"d(xy[:, :{channels}], xy[:, {channels}:]) if it takes two images, or d(xy[:, {channels}:]) if it takes {target} alone"
        )

    def example_samples(self, batch: Batch) -> Samples:
        return {"fake": self.target(batch)}


@dataclass(frozen=True, kw_only=True)
class CustomUnpairedRecipe(Recipe):
    """Unpaired translation in one direction by a generator that a user brings."""

    ranges = {**Recipe.ranges, **CHANNEL_RANGES, "image_width": (1, LARGEST_SIZE)}

    size: int = 256
    metric: str = "l1"
    epochs: int = 50
    decay_fraction: float = 0.5
    gan_mode: GanMode = "lsgan"
    lambda_d: float = 0.5
    gamma_m: float = 10.0
    pool_size: int = 50
    start: Literal["fresh", "inherited"] = "inherited"
    image_width: int | None = None
    """Width of the training images if they are not squares; `size` is then the height. `--size WxH` sets both."""
    input_nc: int = RGB
    """Channels of the images of A, the generator's input."""
    output_nc: int = RGB
    """Channels of the images of B."""


class Unpaired(CustomGAN[CustomUnpairedRecipe]):
    """Unpaired translation from A to B by your own generator; the teacher's features keep the content."""

    samples = "unpaired"
    demo_source = "worlds"
    paired = False

    @classmethod
    def published(cls) -> CustomUnpairedRecipe:
        return CustomUnpairedRecipe()

    @classmethod
    def input_shape_of(cls, recipe: CustomUnpairedRecipe) -> tuple[int, ...]:
        return tuple(example_image(recipe, recipe.input_nc).shape)

    @classmethod
    def settings_of(cls, input_shape: Sequence[int], output_shape: Sequence[int]) -> dict[str, Any]:
        return translation_settings("unpaired", input_shape, output_shape)

    def default_discriminator(self, gate: Gate) -> nn.Module:
        return PatchDiscriminator(self.recipe.output_nc, self.recipe.ndf, "instance", gate)

    def example_batch(self) -> Batch:
        return {"A": example_image(self.recipe, self.recipe.input_nc), "B": example_image(self.recipe, self.recipe.output_nc)}

    def example_samples(self, batch: Batch) -> Samples:
        return {"fake": batch["B"]}

    def generate(self, generators: Networks, batch: Batch) -> Samples:
        return {"fake": generators["G"](batch["A"])}

    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        return {"D": Pair(batch["B"], samples["fake"])}

    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        return {"input": batch["A"]} | {title: samples["fake"] for title, samples in fake.items()}

    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        return {"G": EvalSample(batch, samples["fake"], source="A", target="B")}


@dataclass(frozen=True, kw_only=True)
class CustomSuperResolutionRecipe(SuperResolutionRecipe):
    """Super-resolution by a generator that a user brings; the content loss compares pixels unless `perceptual` says otherwise."""

    size: int = 128
    metric: str = "l1"
    evaluators: str = "psnr_y,ssim_y"
    epochs: int = 50
    decay_fraction: float = 0.5
    batch_size: int = 8
    lr_g: float = 1e-4
    lr_d: float = 1e-4
    beta1: float = 0.9
    gan_mode: GanMode = "vanilla"
    lambda_gan: float = 1e-3
    gamma_m: float = 0.1
    gamma_t: float = 0.1
    pretrain_epochs: int = 20
    perceptual: Literal["vgg19", "vgg16", "pixel", "none"] = "pixel"
    cost_size: int = 64
    start: Literal["fresh", "inherited"] = "inherited"


class CustomSuperResolution(CustomGAN[CustomSuperResolutionRecipe], SuperResolution[CustomSuperResolutionRecipe]):
    """Super-resolution by your own generator."""

    @classmethod
    def published(cls) -> CustomSuperResolutionRecipe:
        return CustomSuperResolutionRecipe()

    @classmethod
    def input_shape_of(cls, recipe: CustomSuperResolutionRecipe) -> tuple[int, ...]:
        return 1, recipe.output_nc, recipe.cost_size, recipe.cost_size

    @classmethod
    def settings_of(cls, input_shape: Sequence[int], output_shape: Sequence[int]) -> dict[str, Any]:
        _, channels, height, width = input_shape
        scale = output_shape[2] // height
        if tuple(output_shape[1:]) != (channels, scale * height, scale * width) or scale not in (2, 4, 8):
            raise GccError(
                f"the generator returns {tuple(output_shape)} for {tuple(input_shape)}: the task super-resolution expects images with "
                "the input's channels, and 2, 4 or 8 times its height and width"
            )
        require_channels(channels)
        return {"scale": scale, "cost_size": height, "output_nc": channels}

    def default_discriminator(self, gate: Gate) -> nn.Module:
        return UNetDiscriminator(self.recipe.output_nc, self.recipe.ndf, gate)

    def example_samples(self, batch: Batch) -> Samples:
        return {"sr": batch["hr"]}


@dataclass(frozen=True, kw_only=True)
class CustomNoiseRecipe(NoiseRecipe):
    """Images from noise by a generator that a user brings."""

    size: int = 64
    metric: str = "l1"
    epochs: int = 50
    batch_size: int = 64
    start: Literal["fresh", "inherited"] = "inherited"


class Noise(CustomGAN[CustomNoiseRecipe], FromNoise[CustomNoiseRecipe]):
    """Images from noise by your own generator."""

    @classmethod
    def published(cls) -> CustomNoiseRecipe:
        return CustomNoiseRecipe()

    @classmethod
    def input_shape_of(cls, recipe: CustomNoiseRecipe) -> tuple[int, ...]:
        raise GccError(
            "the task noise needs the shape of the noise: give an input for one sample, of a shape such as 1x100 or 1x100x1x1, as `example`"
        )

    @classmethod
    def in_range(cls, generator: nn.Module, value_range: ValueRange) -> nn.Module:
        return generator if value_range == USUAL else OutputInRange(generator, value_range)

    @classmethod
    def settings_of(cls, input_shape: Sequence[int], output_shape: Sequence[int]) -> dict[str, Any]:
        if len(output_shape) != 4 or output_shape[2] != output_shape[3]:
            raise GccError(f"the generator returns {tuple(output_shape)}: the task noise expects square images")
        require_channels(output_shape[1])
        return {"z_dim": input_shape[1], "size": output_shape[2], "output_nc": output_shape[1]}

    @property
    def size_multiple(self) -> None:
        return None

    def default_discriminator(self, gate: Gate) -> nn.Module:
        try:
            return DCGANDiscriminator(self.recipe.output_nc, self.recipe.size, self.recipe.ndf, gate)
        except RecipeError as error:
            raise RecipeError(
                f"size = {self.recipe.size}: the default discriminator of the task noise takes images of a power of two from {LEAST_SIZE} "
                "pixels up: give your own as `discriminator`, in Python"
            ) from error

    def example_batch(self) -> Batch:
        return {"real": example_image(self.recipe, self.recipe.output_nc), "z": self.example_input()}

    def example_samples(self, batch: Batch) -> Samples:
        return {"fake": batch["real"]}

    def sample_z(self, random: np.random.Generator) -> Tensor:
        return torch.from_numpy(random.standard_normal(self.networks.input_shape[1:], dtype=np.float32))


def translation_settings(task: str, input_shape: Sequence[int], output_shape: Sequence[int]) -> dict[str, Any]:
    """Return the size and the channels of a generator that translates images.

    Raises:
        GccError: its output is not an image of the size of its input.
    """
    if len(input_shape) != 4 or tuple(output_shape[2:]) != tuple(input_shape[2:]):
        raise GccError(
            f"the generator returns {tuple(output_shape)} for {tuple(input_shape)}: the task {task} expects an image and one of "
            "the same size"
        )
    channels = {"input_nc": input_shape[1], "output_nc": output_shape[1]}
    for number in channels.values():
        require_channels(number)
    return size_fields((input_shape[3], input_shape[2])) | channels


def require_channels(number: int) -> None:
    """Refuse a number of channels that no recipe has.

    Raises:
        GccError: it is out of range.
    """
    least, most = CHANNELS
    if not least <= number <= most:
        raise GccError(f"the generator takes or returns images with {number} channels: expected from {least} to {most}")

"""CycleGAN: unpaired image translation in both directions (Zhu et al. 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from gcc.errors import RecipeError
from gcc.models.external_weights import PATCH, map_patch_discriminator
from gcc.models.layers import Norm, PatchDiscriminator, initialise_normal
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
from gcc.models.tasks import CHANNEL_RANGES, example_image
from gcc.recipe import LARGEST_SIZE, NON_NEGATIVE, RGB, GanMode, MacCounter, Recipe, changed
from gcc.registry.architecture import Architecture
from gcc.registry.types import Batch, EvalSample, Gate, Networks, Pair, Samples, StateDictMapping, Taps, Width, no_gate


@dataclass(frozen=True, kw_only=True)
class CycleGANRecipe(Recipe):
    """Table I's CycleGAN on horse2zebra; other fields are those of the original trainer."""

    ranges = {
        **RESNET_RANGES,
        **CHANNEL_RANGES,
        **dict.fromkeys(("lambda_A", "lambda_B", "lambda_identity"), NON_NEGATIVE),
        "image_width": (1, LARGEST_SIZE),
    }

    size: int = 256
    metric: str = "l1_paper"
    prune_width: int = 24
    # 2.40 G and 2.70 G of the teacher's 18.37 G, as shares, which also suit other sizes.
    budget: str = "13.06%,14.70%"
    mac_counter: MacCounter = "paper"
    epochs: int = 200
    decay_fraction: float = 0.5
    gan_mode: GanMode = "lsgan"
    lambda_d: float = 0.5
    pool_size: int = 50
    gamma_m: float = 0.01
    gamma_t: float = 1e3
    image_width: int | None = None
    """Width of the training images if they are not squares; `size` is then the height. `--size WxH` sets both."""
    input_nc: int = RGB
    """Number of channels of the images in A."""
    output_nc: int = RGB
    """Number of channels of the images in B."""
    generator: Blocks = "mobile"
    """Residual blocks of the generators: `mobile` has depthwise-separable convolutions, as in the paper; `resnet` has plain ones."""
    n_blocks: int = 9
    """Number of residual blocks of a generator."""
    norm: Norm = "instance"
    """Normalisation of generators and discriminators."""
    dropout: float = 0.0
    """Dropout in the generators' residual blocks."""
    lambda_A: float = 10.0  # noqa: N815 - the name that CycleGAN users know
    """Weight of the cycle A to B to A."""
    lambda_B: float = 10.0  # noqa: N815
    """Weight of the cycle B to A to B."""
    lambda_identity: float = 0.5
    """Weight of the identity loss, as a share of the weights of the cycles; 0 if `input_nc` and `output_nc` differ."""

    def implied(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        # Norms of kernels, compared over all layers, suit the published generators and budgets; else a layer may keep only one channel.
        own = {name: settings[name] for name in ("budget", "generator", "n_blocks", "ngf", "prune_width") if name in settings}
        needs_l1 = self.metric == "l1_paper" and "metric" not in settings and changed(self, own) != self
        return super().implied(settings) | ({"metric": "l1"} if needs_l1 else {})


class CycleGAN(Architecture[CycleGANRecipe]):
    """CycleGAN: unpaired image translation in both directions, ResNet generators and PatchGANs."""

    generators = ("A2B", "B2A")
    # Each discriminator gets the images of its domain.
    discriminators = ("A", "B")
    samples = "unpaired"
    importable = {"generator": IMPORTABLE, "discriminator": PATCH}
    paired = False
    demo_source = "worlds"

    def __init__(self, recipe: CycleGANRecipe) -> None:
        super().__init__(recipe)
        require_size(recipe)
        if recipe.input_nc != recipe.output_nc and recipe.lambda_identity:
            raise RecipeError(
                f"lambda_identity = {recipe.lambda_identity:g}: the identity loss gives images of B to A2B, and A and B have "
                f"{recipe.input_nc} and {recipe.output_nc} channels: expected lambda_identity = 0"
            )

    def for_network(self, name: str) -> CycleGAN:
        # A2B and the discriminator of B see the domains in the recipe's order, B2A and the discriminator of A in the other.
        recipe = self.recipe
        if recipe.input_nc == recipe.output_nc or name in ("A2B", "B"):
            return self
        return CycleGAN(replace(recipe, input_nc=recipe.output_nc, output_nc=recipe.input_nc))

    @property
    def size_multiple(self) -> int:
        return STRIDE

    @classmethod
    def published(cls) -> CycleGANRecipe:
        return CycleGANRecipe()

    @classmethod
    def demo(cls) -> CycleGANRecipe:
        return CycleGANRecipe(
            size=64,
            metric="l1",
            generator="resnet",
            n_blocks=3,
            ngf=16,
            ndf=16,
            prune_width=12,
            budget="50%",
            mac_counter="exact",
            epochs=2,
            lr_g=5e-4,
            lr_d=5e-4,
            lr_alpha=4e-3,
            alpha_reach=0.0,
            # Table I's weight is for trunks of 256 channels; the texture term grows with fewer channels.
            gamma_t=25.0,
        )

    def widths(self, base: int) -> dict[str, Width]:
        return resnet_widths(base, self.recipe.n_blocks)

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        recipe = self.recipe
        channels = recipe.input_nc, recipe.output_nc
        return ResNetGenerator(channels, widths, recipe.n_blocks, recipe.generator, recipe.norm, recipe.dropout)

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        return PatchDiscriminator(self.recipe.output_nc, self.recipe.ndf, self.recipe.norm, gate)

    @classmethod
    def map_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        mapping = map_resnet_state_dict(tensors)
        if mapping is None or mapping.settings["input_nc"] == mapping.settings.get("output_nc"):
            return mapping
        return replace(mapping, settings={**mapping.settings, "lambda_identity": 0.0})

    @classmethod
    def map_discriminator_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        return map_patch_discriminator(tensors)

    def initialise(self, network: nn.Module) -> None:
        initialise_normal(network)

    def example_input(self) -> Tensor:
        return example_image(self.recipe, self.recipe.input_nc)

    def example_batch(self) -> Batch:
        return {"A": self.example_input(), "B": example_image(self.recipe, self.recipe.output_nc)}

    def generate(self, generators: Networks, batch: Batch) -> Samples:
        return {"A": generators["B2A"](batch["B"]), "B": generators["A2B"](batch["A"])}

    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        return {domain: Pair(batch[domain], samples[domain]) for domain in self.discriminators}

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        recipe, a, b = self.recipe, batch["A"], batch["B"]
        return {
            "cycle_A": recipe.lambda_A * l1_loss(networks["B2A"](samples["B"]).float(), a),
            "cycle_B": recipe.lambda_B * l1_loss(networks["A2B"](samples["A"]).float(), b),
        }

    def data_losses(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        recipe, a, b = self.recipe, batch["A"], batch["B"]
        if not recipe.lambda_identity:
            return {}
        return {
            "identity_A": recipe.lambda_identity * recipe.lambda_A * l1_loss(networks["B2A"](a).float(), a),
            "identity_B": recipe.lambda_identity * recipe.lambda_B * l1_loss(networks["A2B"](b).float(), b),
        }

    def taps(self) -> Taps:
        return Taps(generator=resnet_taps(self.recipe.n_blocks), discriminator=("conv2.3", "conv4.3"))

    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        columns = {}
        for source, target in (("A", "B"), ("B", "A")):
            columns[source] = batch[source]
            columns |= {f"{title} to {target}": samples[target] for title, samples in fake.items()}
        return columns

    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        return {
            "A2B": EvalSample(batch, samples["B"], source="A", target="B"),
            "B2A": EvalSample(batch, samples["A"], source="B", target="A"),
        }

"""The families `esrgan` (Wang et al. 2018) and `real-esrgan` (Wang et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn.functional import l1_loss

from gcc.errors import RecipeError
from gcc.models.discriminators import UNetDiscriminator
from gcc.models.srgan import Discriminator
from gcc.models.tasks import SuperResolution, SuperResolutionRecipe
from gcc.models.value_range import InRange
from gcc.models.vgg import VGGFeatures
from gcc.recipe import RGB, GanMode, Schedule, nearest_sizes
from gcc.registry import Batch, EvalSample, Gate, Networks, Samples, StateDictMapping, Taps, Width, no_gate
from gcc.registry.presets import Preset
from gcc.utils.weights import Weights
from gcc_esrgan.features import StageFeatures
from gcc_esrgan.networks import DENSE, GROWING, Compact, Dense, RRDBNet, growing
from gcc_esrgan.weights import IMPORTABLE, WRAPPED, map_compact, map_rrdb


@dataclass(frozen=True, kw_only=True)
class ESRGANRecipe(SuperResolutionRecipe):
    """The training of Wang et al. 2018 in epochs (section 4.1); the paper has no student."""

    ranges = {**SuperResolutionRecipe.ranges, "blocks": (1, 64), "convolutions": (1, 128)}

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
    lambda_pixel: float = 1e-2
    cost_size: int = 128
    generator: Literal["rrdb", "compact"] = "rrdb"
    """Residual-in-residual dense blocks, or the compact network of Real-ESRGAN's small models."""
    blocks: int = 23
    """Number of residual-in-residual dense blocks, for `rrdb`."""
    unshuffle: Literal[1, 2, 4] = 1
    """Factor by which the input first shrinks, its pixels becoming channels, for `rrdb`; 2 in RealESRGAN_x2plus."""
    convolutions: int = 32
    """Number of convolutions between the first and the last, for `compact`."""
    image_range: Literal["-1..1", "0..1"] = "-1..1"
    """Values of black and white inside the generator. Published weights have 0 and 1."""
    discriminator_network: Literal["convolutions", "unet"] = "convolutions"
    """Network of both discriminators: SRGAN's four convolutions, or Real-ESRGAN's U-Net with spectral norm and one logit per pixel."""
    perceptual_layers: Literal["last", "stages"] = "last"
    """Layers that the content loss compares: the last after its activation, or the last of each stage before its activation, as in
    Real-ESRGAN."""


class ESRGAN(SuperResolution[ESRGANRecipe]):
    """ESRGAN: super-resolution by residual-in-residual dense blocks."""

    importable = {"generator": IMPORTABLE}

    def __init__(self, recipe: ESRGANRecipe) -> None:
        super().__init__(recipe)
        if recipe.output_nc != RGB:
            raise RecipeError(f"output_nc = {recipe.output_nc}: ESRGAN's networks and degradations are for RGB images: expected {RGB}")
        if recipe.size < 16 or recipe.size % recipe.scale:
            nearest = nearest_sizes(recipe, recipe.scale, 16)
            raise RecipeError(f"size = {recipe.size}: expected a multiple of {recipe.scale}, the scale, from 16 up, such as {nearest}")
        self.doublings = (recipe.scale * recipe.unshuffle).bit_length() - 1

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
            alpha_reach=0.0,
        )

    def widths(self, base: int) -> dict[str, Width]:
        if self.recipe.generator == "compact":
            return {f"conv{number}": Width(base) for number in range(1, self.recipe.convolutions + 2)}
        growth = Width(max(1, base // 2), minimum=0)
        names = [name for block in range(1, self.recipe.blocks + 1) for dense in range(1, DENSE + 1) for name in growing(block, dense)]
        ends = [*(f"up{level}" for level in range(1, self.doublings + 1)), "last"]
        return {"trunk": Width(base)} | dict.fromkeys(names, growth) | dict.fromkeys(ends, Width(base))

    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        recipe = self.recipe
        network: nn.Module
        if recipe.generator == "compact":
            network = Compact(widths, recipe.scale)
        else:
            network = RRDBNet(widths, recipe.blocks, self.doublings, recipe.unshuffle)
        # A layer's padding with zeros means black in one range and grey in the other, so weights cannot absorb the change.
        return InRange(network, (0.0, 1.0)) if recipe.image_range == "0..1" else network

    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        if self.recipe.discriminator_network == "unet":
            return UNetDiscriminator(RGB, self.recipe.ndf, gate)
        return Discriminator(RGB, self.recipe.ndf, gate)

    def initialise(self, network: nn.Module) -> None:
        # A tenth of He's standard deviation in the blocks, so that residuals start small (Wang et al. 2018, section 3.1).
        dense = [module for module in network.modules() if isinstance(module, Dense)]
        for layer in (layer for block in dense for layer in block.modules() if isinstance(layer, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight)
            layer.weight.data *= 0.1
            nn.init.zeros_(cast(Tensor, layer.bias))

    def build_auxiliary(self, weights: Weights) -> dict[str, nn.Module]:
        networks = super().build_auxiliary(weights)
        if self.recipe.perceptual_layers == "stages":
            return {name: StageFeatures(cast(VGGFeatures, network)) for name, network in networks.items()}
        return networks

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        recipe = self.recipe
        pixel = recipe.lambda_pixel + (recipe.lambda_perceptual if recipe.perceptual == "pixel" else 0.0)
        losses = {"pixel": pixel * l1_loss(samples["sr"].float(), batch["hr"])}
        if "vgg" in networks:
            features = networks["vgg"](samples["sr"]).float()
            losses["perceptual"] = recipe.lambda_perceptual * l1_loss(features, batch["wanted"].float())
        return losses

    def pretraining_losses(self, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        return {"pixel": l1_loss(samples["sr"].float(), batch["hr"])}

    def taps(self) -> Taps:
        # After each quarter of the blocks or convolutions, as in Table II for SRGAN.
        recipe = self.recipe
        path, layers = ("layers", recipe.convolutions + 1) if recipe.generator == "compact" else ("blocks", recipe.blocks)
        ends = dict.fromkeys(-(-quarter * layers // 4) - 1 for quarter in (1, 2, 3, 4))
        start = WRAPPED if recipe.image_range == "0..1" else ""
        discriminator = ("down1.2", "down3.2", "up3.2") if recipe.discriminator_network == "unet" else ("conv2.3", "conv4.3")
        return Taps(generator=tuple(f"{start}{path}.{end}" for end in ends), discriminator=discriminator)

    @classmethod
    def map_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        return map_rrdb(tensors) or map_compact(tensors)

    @property
    def receptive_field_radius(self) -> int:
        if self.recipe.generator == "compact":
            return self.recipe.convolutions + 2
        # The radii of the kernels at low resolution, and upper bounds for those at higher resolutions.
        radius = 1 + self.recipe.blocks * DENSE * (GROWING + 1) + 1 + self.doublings + 2
        unshuffle = self.recipe.unshuffle
        # Each pixel at low resolution contains a square of the input. A multiple of its side aligns tiles with the squares.
        return radius if unshuffle == 1 else unshuffle * (radius + 1)

    @property
    def size_multiple(self) -> int:
        return 1

    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        return super().visuals(batch, {title: clamped(samples) for title, samples in fake.items()})

    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        return super().eval_samples(batch, clamped(samples))


def clamped(samples: Samples) -> Samples:
    """Return images with values in [-1, 1], since no activation limits those of the generators."""
    return {key: image.clamp(-1, 1) for key, image in samples.items()}


@dataclass(frozen=True, kw_only=True)
class RealESRGANRecipe(ESRGANRecipe):
    """The training of Wang et al. 2021 in epochs (section 4.1), with the authors' published options where the paper leaves them open.

    The budget is the limit of the AIM 2025 challenge on efficient perceptual super-resolution, 2000 GMACs for an input of 960x540 pixels.
    """

    size: int = 256
    budget: str = "21.5%"
    decay_fraction: float = 0.0
    batch_size: int = 48
    beta2: float = 0.99
    lambda_gan: float = 0.1
    lambda_pixel: float = 1.0
    image_range: Literal["-1..1", "0..1"] = "0..1"
    discriminator_network: Literal["convolutions", "unet"] = "unet"
    perceptual_layers: Literal["last", "stages"] = "stages"
    ema_decay: float = 0.999


class RealESRGAN(ESRGAN):
    """Real-ESRGAN: ESRGAN for photographs of unknown degradations."""

    demo_source = "real-scenes"
    presets = {
        "aim2025": Preset("the limit of the AIM 2025 challenge on efficient perceptual super-resolution", {"budget": "21.5%"}),
        "compact": Preset("the cost of the compact network with 32 convolutions, realesr-general-x4v3", {"budget": "6.7%"}),
        "tiny": Preset("the cost of the compact network with 16 convolutions, realesr-animevideov3", {"budget": "3.5%"}),
    }

    @classmethod
    def published(cls) -> RealESRGANRecipe:
        return RealESRGANRecipe()

    @classmethod
    def demo(cls) -> RealESRGANRecipe:
        return RealESRGANRecipe(
            size=64,
            ngf=16,
            ndf=8,
            prune_width=16,
            generator="compact",
            convolutions=6,
            perceptual="none",
            budget="40%",
            pretrain_epochs=16,
            epochs=10,
            batch_size=8,
            cost_size=32,
            lr_g=1e-3,
            lr_d=1e-3,
            lr_alpha=2e-2,
            alpha_reach=0.0,
        )

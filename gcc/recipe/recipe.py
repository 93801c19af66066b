"""All settings of a run as typed and checked data.

A `Recipe` contains the fields that all families share. A family adds its own in a subclass (see `gcc.models.pix2pix.Pix2PixRecipe`), whose
defaults are its row of Table I. A field has the name of the corresponding pix2pix/CycleGAN option if there is one.
"""

from __future__ import annotations

import dataclasses
import json
import typing
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar

from gcc.errors import RecipeError
from gcc.recipe.kinds import checked
from gcc.recipe.names import RENAMED, current_names
from gcc.recipe.ranges import Range, parse_range, range_text

T = TypeVar("T")
MacCounter = Literal["exact", "paper"]
"""Multiply-accumulates as they are computed, or as the paper's authors count them."""
GanMode = Literal["hinge", "lsgan", "vanilla", "wgangp"]
Schedule = Literal["linear", "step"]

LARGEST_WIDTH = 4096
LARGEST_SIZE = 16384
PAPER_DISTILLER = "gcc"
"""The distiller of Eq. 9 and 10."""
RGB = 3
"""Channels of an image of red, green and blue."""


WIDTH: Range = (1, LARGEST_WIDTH)
CHANNELS: Range = (1, 64)
POSITIVE: Range = (1, 10**9)
NON_NEGATIVE: Range = (0, 10**9)
UNIT_INTERVAL: Range = (0, 1)
BELOW_ONE: Range = (0, 1 - 1e-12)

IMPLIED: Mapping[str, Mapping[str, Any]] = {
    "budget": {"mac_counter": "exact"},
    "epochs": {"steps": None},
    "lr_alpha": {"alpha_reach": 0.0},
    # The width of a pretrained teacher's rectangles belongs to its own height.
    "size": {"image_width": None},
}
"""Fields of every family that follow from another field in the settings."""


class _AcceptsOldFields(type):
    """Lets recipes of plugins written for version 0.1 declare and pass fields under their old names."""

    def __new__(cls, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _AcceptsOldFields:
        old = RENAMED.keys() & body.get("__annotations__", {}).keys()
        if old:
            for field in old:
                warnings.warn(f"{name}.{field} is now called {RENAMED[field]}: rename it", DeprecationWarning, stacklevel=2)
            body = body | {"__annotations__": current_names(body["__annotations__"])}
            body |= {RENAMED[field]: body.pop(field) for field in old if field in body}
        return super().__new__(cls, name, bases, body)

    def __call__(cls: type[T], *arguments: Any, **fields: Any) -> T:
        for field in RENAMED.keys() & fields.keys():
            warnings.warn(f"the recipe field {field} is now called {RENAMED[field]}", DeprecationWarning, stacklevel=2)
        return type.__call__(cls, *arguments, **current_names(fields))  # type: ignore[no-any-return]


@dataclass(frozen=True, kw_only=True)
class Recipe(metaclass=_AcceptsOldFields):
    """The settings that all families share (Li et al. 2021, Table I and Algorithm 1).

    Attributes:
        ranges: the smallest and largest value of each number; a family adds those of its own fields.

    Raises:
        RecipeError: a value has the wrong type or is out of range.
    """

    ranges: ClassVar[Mapping[str, Range]] = {
        **dict.fromkeys(("ngf", "ndf", "prune_width"), WIDTH),
        **dict.fromkeys(("batch_size", "alpha_decay_epochs", "epochs", "steps", "student_steps", "evaluate_every", "round_to"), POSITIVE),
        **dict.fromkeys(("pretrain_epochs", "pool_size"), NON_NEGATIVE),
        **dict.fromkeys(("lr_g", "lr_d", "lr_alpha", "sparsity"), NON_NEGATIVE),
        **dict.fromkeys(("lambda_d", "lambda_gan", "lambda_gp", "gamma_m", "gamma_t", "alpha_reach"), NON_NEGATIVE),
        **dict.fromkeys(("lambda_distill_g", "lambda_distill_d", "lambda_global"), NON_NEGATIVE),
        **dict.fromkeys(("tau", "decay_fraction", "min_keep_ratio"), UNIT_INTERVAL),
        **dict.fromkeys(("beta1", "beta2", "ema_decay"), BELOW_ONE),
        "size": (1, LARGEST_SIZE),
        "seed": (0, 2**63 - 1),
    }

    size: int
    """Height and width of the training images in pixels."""
    range: str | None = None
    """Values that mean black and white in image files with more than 8 bits, such as `0..4095`; values outside are clipped. None means 0 to
    65535 for 16 bits, and -1 to 1 for floating-point numbers."""
    ngf: int = 64
    """Width of the teacher's generator (Table I, ngf)."""
    ndf: int = 64
    """Width of both discriminators (Table I, ndf)."""

    metric: str = "slimming"
    """Importance metric that ranks the channels: a plugin that `gcc list` shows."""
    prune_width: int = 64
    """Width of the generator that the first step trains and prunes (Table I, student ngf). If you give `budget` or `ngf` without it, it is
    the smallest width that costs at least twice the budget, but at most the teacher's width."""
    sparsity: float | None = None
    """Strength of the first step's L1 subgradient; None means the metric's default."""
    min_keep_ratio: float = 0.0
    """Smallest share of each width's channels that is kept, regardless of their importance. With 0, as in the paper, a layer may keep only
    one channel, which tends to happen after short sparse training if gradients are small."""
    round_to: int = 1
    """A width that loses channels becomes a multiple of this; many devices are fastest with multiples of 8."""
    budget: str = "25%"
    """The most that a student generator may cost: `3.0G`, `900M` (MACs per sample), `25%` (of the teacher's MACs), `2.5Mparams` or
    `8ms@cpu` (measured on this machine; cpu, cuda, onnxruntime or another runtime that `gcc list` shows). Give one budget for all
    generators, or one for each, separated by commas."""
    mac_counter: MacCounter = "exact"
    """How MACs are counted for the budget. If you give `budget` without it, they are counted exactly."""

    evaluators: str = ""
    """Evaluators of quality: plugins that `gcc list` shows, separated by commas."""
    result_epoch: str = "auto"
    """The epoch that is the result: `last`, or the best one on the validation images by the evaluator that is named here. `auto` uses the
    first perceptual evaluator (such as `lpips`, `fid` or `miou`), or the last epoch if there is none."""
    evaluate_every: int = 5
    """Number of epochs between two evaluations on the validation images; the last epoch is always evaluated. If this is above 1 and a run
    continues for more epochs, its former last epoch has also been evaluated, so it may choose a different best epoch than a run of the full
    length."""

    epochs: int = 100
    """Epochs of the second step, E in Algorithm 1 (Table I, const and decay together)."""
    steps: int | None = None
    """Number of training steps (batches) of the second step, which ends after exactly so many; `epochs` is then the number of epochs that
    they take, the last of which may be incomplete. The first step has at most a tenth as many. With None, `epochs` sets the length."""
    decay_fraction: float = 0.0
    """Share of the epochs, at the end of training, in which the learning rate follows `schedule` (Table I, decay)."""
    schedule: Schedule = "linear"
    """Learning rate in the n decay epochs: `linear` lowers it to 1 / (n + 1) of itself in the last one; `step` uses a tenth of it."""
    batch_size: int = 1
    """Samples per batch (Table I)."""
    lr_g: float = 2e-4
    """Adam's learning rate for generators."""
    lr_d: float = 2e-4
    """Adam's learning rate for discriminators."""
    beta1: float = 0.5
    """Adam's first beta."""
    beta2: float = 0.999
    """Adam's second beta."""
    pretrain_epochs: int = 0
    """Number of pre-training epochs (generators only) before the second step; the first step has a tenth as many. 0 if the family has
    none."""
    gan_mode: GanMode = "hinge"
    """GAN loss of Eq. 1 and 2 (Table I)."""
    lambda_d: float = 1.0
    """Factor on L_D (Eq. 2); it also weights L_D against L_global in Eq. 8."""
    lambda_gan: float = 1.0
    """Weight of the adversarial loss (Eq. 1) in a generator's loss."""
    pool_size: int = 0
    """Size of the image pool of each discriminator (`pool_size` in CycleGAN); 0 turns it off."""
    lambda_gp: float = 10.0
    """Weight of the gradient penalty; only for `wgangp`."""
    ema_decay: float = 0.0
    """Decay of the exponential moving average of each generator, which is then evaluated and saved; the first steps have a lower decay.
    With 0, the generators themselves are evaluated and saved."""
    update_order: Literal["GD", "DG"] = "GD"
    """Which network of the student pair is updated first: the generator (Algorithm 1, lines 10 and 11) or the discriminator. The teacher's
    discriminator is updated before its generator in either order."""
    student_steps: int = 1
    """Updates of the student pair (lines 10 and 11) for each update of the teacher pair, all on the same batch; 1 in the paper."""

    distillers: str = PAPER_DISTILLER
    """What the student learns from the teacher: plugins that `gcc list` shows, separated by commas, each with a factor if that is not 1,
    such as `gcc,omgd*0.5`. `gcc` is Eq. 10; the four fields below `selector` are its weights. An empty string turns distillation off."""
    selector: str = "paper"
    """Selector of the layers to distil: a plugin that `gcc list` shows, or module names separated by commas."""
    gamma_m: float = 1.0
    """Weight of the content term of Eq. 10 (Table I, gamma_m)."""
    gamma_t: float = 1.0
    """Weight of the texture term of Eq. 10 (Table I, gamma_t)."""
    lambda_distill_g: float = 1.0
    """Weight of Eq. 10 for generator layers; 0 omits it."""
    lambda_distill_d: float = 1.0
    """Weight of Eq. 10 for layers of the teacher's discriminators; 0 omits it."""
    discriminator: Literal["selective", "full", "none"] = "selective"
    """The student's discriminator: with selective activation, as in the paper; with every channel on; or none at all."""
    lambda_global: float = 1.0
    """Weight of L_global (Eq. 7) in Eq. 8; without selective activation, L_global trains the discriminator's weights."""
    tau: float = 0.1
    """Threshold of the retention factors (Eq. 3)."""
    lr_alpha: float = 1e-4
    """Adam's learning rate for the retention factors."""
    alpha_reach: float = 12.0
    """If the retention factors could fall by less than this many times 1 - tau in a run, `lr_alpha` is raised, to 0.02 at most, until they
    can. In the published runs, they can fall by 13 to 66 times 1 - tau. 0 never raises it; that is the default if you give `lr_alpha`."""
    alpha_decay_epochs: int = 100
    """Number of epochs after which `lr_alpha` falls to a tenth, each time."""
    start: Literal["fresh", "inherited"] = "fresh"
    """The student's first weights: `fresh` means new ones (Algorithm 1, line 5); `inherited` means those of the channels that the first
    step kept, which is only possible for your own generators."""
    train_teacher: bool = True
    """Whether a pretrained teacher is trained further; a fresh teacher is always trained."""
    seed: int = 0
    """Random seed of initialisation, data order, augmentation and dropout."""

    def __post_init__(self) -> None:
        """Check every field's type and range."""
        if self.range is not None:
            object.__setattr__(self, "range", range_text(parse_range(self.range)))
        for field, kind in fields(type(self)).items():
            value = getattr(self, field)
            object.__setattr__(self, field, checked(field, value, kind))
        for field, (low, high) in {RENAMED.get(field, field): bounds for field, bounds in self.ranges.items()}.items():
            value = getattr(self, field)
            if value is not None and not low <= value <= high:
                most = "to below 1" if (low, high) == BELOW_ONE else f"to {high}"
                raise RecipeError(f"{field} = {value}: expected a value from {low} {most}")
        weights = (self.lambda_distill_g, self.lambda_distill_d)
        distils = any(weights) if self.distillers == PAPER_DISTILLER else bool(self.distillers)
        if self.discriminator == "none" and not distils:
            remedy = "set distillers = gcc and lambda_distill_g = 1"
            raise RecipeError(f"discriminator = none without distillation leaves a student nothing to learn from: {remedy}")

    if not typing.TYPE_CHECKING:  # Type checkers know the present names only.

        def __getattr__(self, name: str) -> Any:
            """Return a field by the name that it had in version 0.1."""
            if name not in RENAMED:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            warnings.warn(f"the recipe field {name} is now called {RENAMED[name]}", DeprecationWarning, stacklevel=2)
            return getattr(self, RENAMED[name])

    def implied(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields that follow from settings for this recipe, without those that the settings contain; a family adds its own."""
        following = [values for name, values in IMPLIED.items() if name in settings]
        possible = fields(type(self)).keys() - settings.keys()
        return {name: value for values in following for name, value in values.items() if name in possible}

    @property
    def decay_epochs(self) -> int:
        """Epochs with a decaying learning rate (Table I, decay)."""
        return round(self.decay_fraction * self.epochs)

    @property
    def search_epochs(self) -> int:
        """Epochs of the first step: E / 10, at least one."""
        return max(1, self.epochs // 10)

    @property
    def search_steps(self) -> int | None:
        """The most steps of the first step: a tenth of `steps`, at least one. None if `epochs` decides."""
        return None if self.steps is None else max(1, self.steps // 10)

    @property
    def search_pretrain_epochs(self) -> int:
        """Epochs of pre-training before the first step: a tenth of those before the second, rounded up."""
        return -(-self.pretrain_epochs // 10)

    def learning_rate_factor(self, epoch: int) -> float:
        """Return the factor on both learning rates in `epoch`, counted from 1."""
        decayed = epoch - (self.epochs - self.decay_epochs)
        if decayed <= 0:
            return 1.0
        return 0.1 if self.schedule == "step" else 1.0 - decayed / (self.decay_epochs + 1)

    def alpha_rate_factor(self, epoch: int) -> float:
        """Return the factor on the retention factors' learning rate in `epoch`, counted from 1."""
        return float(0.1 ** ((epoch - 1) // self.alpha_decay_epochs))

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain JSON and TOML values, without those that are None."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    def to_toml(self, arch: str) -> str:
        """Return the recipe as a TOML document that `read_toml` reads back."""
        lines = [f"arch = {_toml(arch)}"]
        lines += [f"{name} = {_toml(value)}" for name, value in self.to_dict().items()]
        return "\n".join(lines) + "\n"


def fields(recipe: type[Recipe]) -> dict[str, Any]:
    """Return the fields of a recipe class and their types, in order."""
    hints = typing.get_type_hints(recipe)
    return {field.name: hints[field.name] for field in dataclasses.fields(recipe)}


def _toml(value: bool | int | float | str) -> str:
    # JSON writes numbers, booleans and escaped strings as TOML reads them, except DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""The contract of a GAN family."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic

from gcc.errors import RecipeError
from gcc.registry.presets import Preset
from gcc.registry.renamed import AcceptsOldNames
from gcc.registry.types import Batch, EvalSample, Gate, Group, Networks, Pair, R, Samples, StateDictMapping, Taps, Width, no_gate

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from gcc.utils.weights import Weights


class Architecture(AcceptsOldNames, abc.ABC, Generic[R]):
    """A GAN family: one subclass in one file.

    A family must define `samples`, `demo_source` and every abstract method. The members under "Optional" have defaults that suit most
    families.

    An instance contains only its frozen recipe, so it can be created and discarded freely. It builds every network; the caller owns them.
    Builders must work under `torch.device("meta")`.
    """

    renamed = {
        "fitted": "input_size",
        "judged": "eval_samples",
        "latent": "sample_z",
        "reach": "receptive_field_radius",
        "recognise": "map_state_dict",
        "show": "visuals",
    }

    def __init__(self, recipe: R) -> None:
        """Store the recipe; a subclass raises `RecipeError` here for a recipe that it cannot build."""
        self.recipe = recipe

    # Data

    samples: ClassVar[str]
    """Kind of training samples, matched with `DatasetSource.samples`, such as "paired"."""
    demo_source: ClassVar[str]
    """Name of the dataset that demonstrates the family if no data is given."""
    paired: ClassVar[bool] = True
    """Whether every generated image has a true counterpart that it can be compared with."""

    importable: ClassVar[Mapping[str, str]] = {}
    """What `gcc import` reads of other programs, for messages: the network and its first tensor, for "generator" and "discriminator"."""

    # Recipes

    @classmethod
    @abc.abstractmethod
    def published(cls) -> R:
        """Return the published recipe (Table I)."""

    @classmethod
    @abc.abstractmethod
    def demo(cls) -> R:
        """Return a recipe small enough for the demo data on two CPU cores in under three minutes."""

    presets: ClassVar[Mapping[str, Preset]] = {}
    """Named settings for the family, such as well-known budgets, which `--preset` takes beside those of all families."""

    # Networks

    generators: ClassVar[tuple[str, ...]] = ("G",)
    discriminators: ClassVar[tuple[str, ...]] = ("D",)

    @abc.abstractmethod
    def widths(self, base: int) -> dict[str, Width]:
        """Return every prunable width of a generator of width `base` by name; they are independent of each other."""

    def full_widths(self, base: int) -> dict[str, int]:
        """Return the channels of the unpruned generator of width `base`, by width name."""
        return {name: width.channels for name, width in self.widths(base).items()}

    @property
    def has_one_width(self) -> bool:
        """Whether `base` makes no difference, as for a generator that was not built from a width."""
        return self.full_widths(1) == self.full_widths(self.recipe.ngf)

    @abc.abstractmethod
    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        """Build a generator with these widths; a level or block whose width is 0 is left out."""

    @abc.abstractmethod
    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        """Build a discriminator of width `recipe.ndf`, with `gate(channels)` after the norm of every convolution except the last."""

    @abc.abstractmethod
    def example_input(self) -> Tensor:
        """Return one generator input, (1, ...), on the default device; it fixes the resolution of every cost."""

    @abc.abstractmethod
    def taps(self) -> Taps:
        """Return the layers to distil, as module paths: the family's row of Table II, or a few activations along each network."""

    def for_network(self, name: str) -> Architecture[R]:
        """Return this family, bound to the recipe by which it builds the network `name`: itself, by default.

        A family overrides this if its generators, or its discriminators, take images with different numbers of channels. `build_generator`,
        `build_discriminator` and `example_input` of the result are those of that network.
        """
        return self

    # A training step

    @abc.abstractmethod
    def example_batch(self) -> Batch:
        """Return a training batch of one sample on the default device, all zeros."""

    @abc.abstractmethod
    def generate(self, generators: Networks, batch: Batch) -> Samples:
        """Run every generator once on `batch` and return what the discriminators get.

        Here and in `task_losses`, only call the networks; do not inspect them. They may be wrappers that run the batch in micro-batches.
        """

    @abc.abstractmethod
    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        """Return the real and fake images of each discriminator."""

    # Results

    @abc.abstractmethod
    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        """Return the columns of a sample grid by title, each (N, C, H, W) in [-1, 1].

        Args:
            batch: the batch.
            fake: what `generate` returned for it, by the title of the generators, such as "teacher" and "student".
        """

    @abc.abstractmethod
    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        """Return the evaluators' input for each generator."""

    # Optional: task losses

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        """Return the weighted losses besides the adversarial one by name, each a scalar; none by default.

        Args:
            networks: the generators and the auxiliary networks by name.
            batch: the batch that `prepare` returned.
            samples: what `generate` returned for it.
        """
        return {}

    def data_losses(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Return the task losses that do not depend on `samples`, such as CycleGAN's identity loss; none by default.

        They could be part of `task_losses`. Returned here, they take less memory: their graphs are freed before the others are built.

        Args:
            networks: the generators and the auxiliary networks by name.
            batch: the batch that `prepare` returned.
        """
        return {}

    def pretraining_losses(self, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        """Return the weighted losses of pre-training, in which generators train without discriminators for `recipe.pretrain_epochs`."""
        return {}

    def build_auxiliary(self, weights: Weights) -> dict[str, nn.Module]:
        """Build the frozen networks that task losses read, such as a classifier whose features are compared.

        Args:
            weights: finds their trained weights.

        Raises:
            GccError: the weights are missing or do not fit.
        """
        return {}

    def prepare(self, batch: Batch, auxiliary: Networks) -> Batch:
        """Return a batch with everything that the task losses of teacher and student share, computed once; the batch itself by default."""
        return batch

    # Optional: networks

    supports_cuda_graphs: ClassVar[bool] = True
    """Whether a CUDA graph may replay a training step. Python code of losses and networks then does not run in every step: random numbers
    must come from torch's generators, and nothing may depend on a count of steps."""
    channels_last: ClassVar[bool] = False
    """Whether its networks train faster with channels last on a CPU in float32; `benchmarks/step.py` measures it."""

    def groups(self, base: int) -> Sequence[Group] | None:
        """Return the channel groups of a generator of width `base`, one for each of its widths in order.

        None, the default, finds them by building the generator with one width raised; see `gcc.pruning.groups`.
        """
        return None

    def readable(self, generator: nn.Module) -> nn.Module:
        """Return a generator as metrics read it: one in which all weights that `groups` names can be found; by default the generator."""
        return generator

    def inherit(self, generator: nn.Module, kept: Mapping[str, Sequence[int]]) -> nn.Module:
        """Return a generator with the weights of some of a trained generator's channels, for students that start with them.

        Args:
            generator: the trained generator.
            kept: indices of the channels that stay, by width name; a width that is not named keeps all.

        Raises:
            RecipeError: students of this family start with fresh weights, as is the default.
        """
        raise RecipeError("students of this family start with fresh weights, as in Algorithm 1")

    def describe_networks(self) -> dict[str, Any]:
        """Return what a saved model must say of its networks beside the recipe, as plain values; nothing, if the family builds them."""
        return {}

    @classmethod
    def described(cls, networks: Mapping[str, Any], factory: Callable[[], nn.Module] | None) -> type[Architecture[R]]:
        """Return the family of the networks that a saved model describes; see `gcc.custom.gan.CustomGAN`.

        Args:
            networks: what `describe_networks` returned; it comes from a file.
            factory: makes the full generator; None leaves it unknown.

        Raises:
            ArtifactError: the description is damaged.
        """
        return cls

    def initialise(self, network: nn.Module) -> None:
        """Initialise a freshly built network in place; needed if the family's original trainer does not use torch's defaults."""
        return

    def sample_z(self, random: np.random.Generator) -> Tensor | None:
        """Return one random generator input without the batch dimension, the batch's `z`; None if generators take images."""
        return None

    @property
    def takes_noise(self) -> bool:
        """Whether generators take random input; by default, whether the family defines `sample_z`."""
        return type(self).sample_z is not Architecture.sample_z

    # Optional: deployment

    @property
    def note(self) -> str:
        """What a user must know about this recipe, as a sentence; an empty string if there is nothing to say."""
        return ""

    @classmethod
    def map_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        """Return how to read another program's generator of this family; None if its format is unknown."""
        return None

    @classmethod
    def map_discriminator_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        """Return how to read another program's discriminator of this family; None if its format is unknown."""
        return None

    def fixed_by_weights(self) -> dict[str, Any]:
        """Return the recipe fields that follow from the size, but stay when trained weights are used at another size, such as a depth."""
        return {}

    @property
    def receptive_field_radius(self) -> int | None:
        """Largest distance in input pixels at which a generator's output depends on its input; None if it depends on all pixels.

        If there is one, images larger than a tile are translated in tiles.
        """
        return None

    @property
    def size_multiple(self) -> int | None:
        """The number that the height and the width of any input must be multiples of; None if generators take the recipe's size only.

        If there is one, users' images are translated at their own size, padded to the next multiple.
        """
        return None

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width to which a user's image of `height` x `width` pixels is resized if there is no `size_multiple`."""
        return self.recipe.size, self.recipe.size

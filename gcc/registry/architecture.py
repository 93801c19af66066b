"""The contract of a GAN family."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Generic

from gcc.registry.renamed import AcceptsOldNames
from gcc.registry.types import Batch, EvalSample, Gate, Networks, Pair, R, Samples, StateDictMapping, Taps, Width, no_gate

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from gcc.utils.weights import Weights


class Architecture(AcceptsOldNames, abc.ABC, Generic[R]):
    """A GAN family: one subclass in one file.

    An instance holds nothing but its frozen recipe, so it can be made and thrown away at will; every network is built by it and owned by
    the caller. Builders must work under `torch.device("meta")`.
    """

    renamed = {
        "fitted": "input_size",
        "judged": "eval_samples",
        "latent": "sample_z",
        "reach": "receptive_field_radius",
        "recognise": "map_state_dict",
        "show": "visuals",
    }

    generators: ClassVar[tuple[str, ...]] = ("G",)
    discriminators: ClassVar[tuple[str, ...]] = ("D",)
    samples: ClassVar[str]
    """Kind of training samples, matched with `DatasetSource.samples`, such as "paired"."""
    demo_source: ClassVar[str]
    """Name of the data set that demonstrates the family when no data is given."""
    paired: ClassVar[bool] = True
    """Whether a true image exists for each that a generator makes, so that the two can be compared."""
    channels_last: ClassVar[bool] = False
    """Whether its networks train faster with channels last on a CPU in float32; `benchmarks/step.py` tells."""

    def __init__(self, recipe: R) -> None:
        """Bind the recipe; subclasses refuse here what they cannot build, with `RecipeError`."""
        self.recipe = recipe

    @property
    def note(self) -> str:
        """What a user must know of this recipe, as a sentence; empty where there is nothing to say."""
        return ""

    @classmethod
    @abc.abstractmethod
    def published(cls) -> R:
        """Return the published recipe (Table I)."""

    @classmethod
    @abc.abstractmethod
    def demo(cls) -> R:
        """Return a recipe small enough for the demo data on two CPU cores in under three minutes."""

    @abc.abstractmethod
    def widths(self, base: int) -> dict[str, Width]:
        """Return every prunable width of a generator of width `base` by name; they are independent of each other."""

    def full_widths(self, base: int) -> dict[str, int]:
        """Return the channels of the unpruned generator of width `base`, by width name."""
        return {name: width.channels for name, width in self.widths(base).items()}

    @abc.abstractmethod
    def build_generator(self, widths: Mapping[str, int]) -> nn.Module:
        """Build a generator with these widths; a level or block whose width is 0 is left out."""

    @abc.abstractmethod
    def build_discriminator(self, gate: Gate = no_gate) -> nn.Module:
        """Build a discriminator of width `recipe.ndf`, with `gate(channels)` after every convolution's norm but that of the logits."""

    @classmethod
    def map_state_dict(cls, tensors: Mapping[str, Tensor]) -> StateDictMapping | None:
        """Return how another program's generator of this family is to be read; none where it is not known."""
        return None

    def initialise(self, network: nn.Module) -> None:
        """Initialise a freshly built network in place; torch's defaults unless the family's original trainer differs."""
        return

    @abc.abstractmethod
    def example_input(self) -> Tensor:
        """Return one generator input (1, ...) on the default device; it fixes the resolution of every cost."""

    @abc.abstractmethod
    def example_batch(self) -> Batch:
        """Return a training batch of one sample on the default device, all zeros."""

    def sample_z(self, random: np.random.Generator) -> Tensor | None:
        """Return one random input of a generator without the batch dimension, the batch's `z`; none where generators take images."""
        return None

    @abc.abstractmethod
    def generate(self, generators: Networks, batch: Batch) -> Samples:
        """Run every generator once on `batch` and return what the discriminators judge.

        Of the networks nothing but their being called is known here and in `task_losses`: they may run a batch part by part.
        """

    @abc.abstractmethod
    def pairs(self, batch: Batch, samples: Samples) -> dict[str, Pair]:
        """Return what each discriminator is to tell apart."""

    def task_losses(self, networks: Networks, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        """Return the weighted losses beside the adversarial one by name, each a scalar; none by default.

        Args:
            networks: the generators and the auxiliary networks by name.
            batch: as `prepare` returned it.
            samples: what `generate` made of it.
        """
        return {}

    def data_losses(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Return those task losses that read nothing of what was made, such as how far a generator changes its own domain; none by default.

        They could stand in `task_losses` as well. Here they take less memory, since their graphs are gone before the others' grow.

        Args:
            networks: the generators and the auxiliary networks by name.
            batch: as `prepare` returned it.
        """
        return {}

    def pretraining_losses(self, batch: Batch, samples: Samples) -> dict[str, Tensor]:
        """Return the weighted losses of the stage before the game, in which generators train alone for `recipe.pretrain_epochs`."""
        return {}

    def build_auxiliary(self, weights: Weights) -> dict[str, nn.Module]:
        """Build the networks that task losses read and that never move, such as a classifier whose features are compared.

        Args:
            weights: where their trained weights are found.

        Raises:
            GccError: the weights are missing, or do not fit.
        """
        return {}

    def prepare(self, batch: Batch, auxiliary: Networks) -> Batch:
        """Return a batch with what the task losses of both sides need of it, computed once; the batch itself by default."""
        return batch

    @abc.abstractmethod
    def taps(self) -> Taps:
        """Return the layers that are distilled, as module paths: the family's row of Table II, or a few activations along each network."""

    @property
    def receptive_field_radius(self) -> int | None:
        """How many pixels of its input around it a generator's output pixel depends on, at most; none where on all of them.

        With it, images that are larger than a tile are translated in tiles.
        """
        return None

    def input_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a user's image of `height` x `width` pixels is resized to before a generator runs on it."""
        return self.recipe.size, self.recipe.size

    @abc.abstractmethod
    def visuals(self, batch: Batch, fake: Mapping[str, Samples]) -> dict[str, Tensor]:
        """Return the columns of a sample grid by title, each (N, 3, H, W) in [-1, 1]; `fake` holds each side's samples by its title."""

    @abc.abstractmethod
    def eval_samples(self, batch: Batch, samples: Samples) -> dict[str, EvalSample]:
        """Return for each generator what evaluators see of it."""

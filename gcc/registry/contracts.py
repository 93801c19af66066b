"""What a plugin must provide: five contracts, and the few values that pass between them.

Every contract is an abstract class; a plugin is a subclass of it, named by an entry point. A class is checked when it is loaded: a missing
method is named, with the distribution that lacks it. Plugins hold no mutable state between runs.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from gcc.errors import DataError, PluginError
from gcc.recipe import Recipe

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch
    from torch import Tensor, nn

    from gcc.weights import Weights

R = TypeVar("R", bound=Recipe)

Batch = Mapping[str, "Tensor"]
"""A batch of training data by key, such as the images `A` and `B`, each (N, C, H, W) in [-1, 1]; the generators' noise, if any, is `z`."""
Samples = Mapping[str, "Tensor"]
"""What the generators made of a batch, by key, such as `fake`."""
Networks = Mapping[str, "nn.Module"]
"""Networks by name, such as the generators or the discriminators of one side of the game."""


class Gate(Protocol):
    """Makes the module that stands where a discriminator's channels can be switched off."""

    def __call__(self, channels: int) -> nn.Module:
        """Return a module that maps (N, channels, H, W) to the same shape."""


def no_gate(channels: int) -> nn.Module:
    """Return the teacher's gate: an identity, so that module paths agree with the student's."""
    from torch import nn

    return nn.Identity()


@dataclass(frozen=True)
class Width:
    """One prunable width of a generator: its channels in the full network, and the fewest it may keep."""

    channels: int
    minimum: int = 1
    """0 where the builder leaves the level or block out once no channel remains."""


@dataclass(frozen=True)
class Pair:
    """What one discriminator is to tell apart: `real` from `fake`, each (N, C, H, W)."""

    real: Tensor
    fake: Tensor


@dataclass(frozen=True)
class Taps:
    """Module paths whose outputs the distillation compares (Table II), by network."""

    generator: tuple[str, ...]
    discriminator: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """What evaluators see of one generator on a batch.

    Attributes:
        batch: the data.
        made: the generator's images, (N, 3, H, W) in [-1, 1].
        source: key of what the images were made of.
        target: key of the real images of the domain that they are to lie in; their true counterparts where the family is `paired`.
    """

    batch: Batch
    made: Tensor
    source: str
    target: str

    @property
    def real(self) -> Tensor:
        """The real images, (N, 3, H, W) in [-1, 1]."""
        return self.batch[self.target]


@dataclass(frozen=True)
class Foreign:
    """A generator's weights as another program names them.

    Attributes:
        settings: recipe fields that the weights tell.
        modules: the foreign path of each of our modules that has tensors, by our own path.
        ignored: foreign tensors that have no part in what the generator makes.
    """

    settings: Mapping[str, Any]
    modules: Mapping[str, str]
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Producer:
    """The weight of a convolution or linear layer that makes a group's channels.

    Attributes:
        parameter: name of the weight in the generator.
        dim: its output dimension (0 for a convolution, 1 for a transposed one).
        ratio: outputs for each channel of the group, consecutive in `dim` (4 before a pixel shuffle by 2), as `check_architecture` sees to.
    """

    parameter: str
    dim: int
    ratio: int


@dataclass(frozen=True)
class Group:
    """The channels that stand or fall together under one width name.

    Attributes:
        name: the width's name.
        channels: how many there are.
        minimum: the fewest that may be kept.
        producers: the convolutions that make them; several where a residual sum joins them.
        scales: names of the normalisation scales that belong to exactly these channels.
    """

    name: str
    channels: int
    minimum: int
    producers: tuple[Producer, ...]
    scales: tuple[str, ...]


class Architecture(abc.ABC, Generic[R]):
    """A GAN family: one subclass in one file.

    An instance holds nothing but its frozen recipe, so it can be made and thrown away at will; every network is built by it and owned by
    the caller. Builders must work under `torch.device("meta")`.
    """

    generators: ClassVar[tuple[str, ...]] = ("G",)
    discriminators: ClassVar[tuple[str, ...]] = ("D",)
    samples: ClassVar[str]
    """Kind of training samples, matched with `SampleSource.samples`, such as "paired"."""
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
    def recognise(cls, tensors: Mapping[str, Tensor]) -> Foreign | None:
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

    def latent(self, random: np.random.Generator) -> Tensor | None:
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
    def reach(self) -> int | None:
        """How many pixels of its input around it a generator's output pixel depends on, at most; none where on all of them.

        With it, images that are larger than a tile are translated in tiles.
        """
        return None

    def fitted(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width that a user's image of `height` x `width` pixels is resized to before a generator runs on it."""
        return self.recipe.size, self.recipe.size

    @abc.abstractmethod
    def show(self, batch: Batch, made: Mapping[str, Samples]) -> dict[str, Tensor]:
        """Return the columns of a sample grid by title, each (N, 3, H, W) in [-1, 1]; `made` holds each side's samples by its title."""

    @abc.abstractmethod
    def judged(self, batch: Batch, samples: Samples) -> dict[str, Judged]:
        """Return for each generator what evaluators see of it."""


class ImportanceMetric(abc.ABC):
    """How much a generator's channels matter."""

    strength: ClassVar[float]
    """Default strength of the first step's L1 subgradient on what `sparsified` returns."""
    batches: ClassVar[int] = 0
    """Batches of training data whose gradients the score reads; at 0 it reads none.

    `score` is then called once for each, with the gradient of the generators' losses on that batch (Eq. 1 and the family's own) as `grad`
    of the parameters, and its mean counts.
    """

    @abc.abstractmethod
    def score(self, network: nn.Module, group: Group) -> Tensor | None:
        """Return the importance of the group's channels, (channels,), larger is kept; none if this metric cannot tell.

        A group with no score keeps its full width.
        """

    @abc.abstractmethod
    def sparsified(self, network: nn.Module, group: Group) -> Sequence[Tensor]:
        """Return the parameters that the first step drives towards zero, so that the score tells."""


class LayerSelector(abc.ABC):
    """Which layers of a network the distillation compares."""

    @abc.abstractmethod
    def select(self, network: nn.Module, example: Tensor, published: Sequence[str]) -> Sequence[str]:
        """Return module paths of `network`, which accepts `example`; `published` is the family's row of Table II for it."""


class SampleSource(abc.ABC):
    """A data set on disk, or made, that gives samples of one kind.

    Sources are constructed as `Source(root, split, recipe)` and read nothing but file names then. Each sample depends on its index and
    the random generator that it is given and on nothing else, so that any order, worker count or restart gives the same samples.
    """

    samples: ClassVar[str]
    """Kind of the samples, matched with `Architecture.samples`."""
    uniform: bool = True
    """Whether all samples that are not augmented have one size, so that they fit into a batch."""

    note: str = ""
    """Which samples really serve as this split, as a sentence; empty where they are the split's own."""

    @abc.abstractmethod
    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        """Find the samples of `split`, which is `train`, `val` or `test`; `root` is none for data that is made.

        Raises:
            DataError: the folder is missing, empty or of another layout, or its pairs do not match.
        """

    @classmethod
    @abc.abstractmethod
    def recognises(cls, root: Path) -> bool:
        """Return whether the folder has this source's layout."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abc.abstractmethod
    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        """Return sample `index` as tensors without the batch dimension, augmented with `random`; none means not augmented.

        Raises:
            DataError: the image cannot be read; the message names it.
        """

    def part(self, index: int) -> str:
        """Return the named part of the split that sample `index` belongs to, such as a test set's name; parts are evaluated apart."""
        return ""

    def distinct(self, key: str) -> int:
        """Return how many samples differ in their entry `key`: the first so many, after which they begin again.

        Fewer than all where a sample joins images of two sides of which one has more.
        """
        return len(self)

    @property
    def identity(self) -> str:
        """What tells this split from every other, sizes and dates of files included; empty where nothing lasting can be known of it."""
        return ""

    def shown(self, index: int) -> dict[str, Tensor]:
        """Return sample `index` for a grid, where all samples must have one size; the sample as it is by default."""
        return self.sample(index, None)

    def decoded(self, folder: Path) -> SampleSource:
        """Return this source with its images decoded once, into a file in `folder`.

        Raises:
            DataError: an image cannot be read, or this source cannot keep what it reads.
            OutputError: there is no room for the file, or it cannot be written.
        """
        raise DataError(f"the data set {type(self).__name__} keeps no decoded images: leave --cache out")

    @property
    def decoded_in(self) -> Path | None:
        """The file that decoded images are read from, if there is one."""
        return None

    @abc.abstractmethod
    def check(self) -> list[tuple[int, str]]:
        """Read everything once and return (number, reason) for what cannot be used; `without` takes the numbers."""

    @abc.abstractmethod
    def without(self, bad: Collection[int]) -> SampleSource:
        """Return this source without what `check` numbers so.

        Raises:
            DataError: nothing would be left.
        """


@dataclass(frozen=True)
class Surroundings:
    """What evaluators may draw on.

    Attributes:
        weights: where trained weights are found.
        device: where networks run.
        training: gives the training split, for what is to be learned from it.
        store: folder for what takes long to compute and holds for later runs; none where there is none.
    """

    weights: Weights
    device: torch.device
    training: Callable[[], SampleSource]
    store: Path | None = None


class Extractor(abc.ABC):
    """Features of single images, from a trained network; several evaluators share them."""

    name: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, around: Surroundings) -> None:
        """Load the weights.

        Raises:
            GccError: they are missing; the message says what file is needed, and where people get it.
        """

    @property
    @abc.abstractmethod
    def protocol(self) -> str:
        """How images are resized and which weights are used, as a phrase."""

    @abc.abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) of 8-bit RGB to features (N, F)."""


class Evaluator(abc.ABC):
    """A figure of quality over many images: an `ImageEvaluator` or a `SetEvaluator`.

    Made once and asked often: it holds what it needs, such as trained weights, and nothing of the images that it has seen.
    """

    unit: ClassVar[str] = ""
    """What the figure is given in, such as "dB"."""
    larger_is_better: ClassVar[bool]

    def __init__(self, around: Surroundings) -> None:  # noqa: B027 - an evaluator may need nothing
        """Load what is needed.

        Raises:
            GccError: trained weights or a package are missing; the message says which, and where people get them.
        """

    def check(self, judged: Judged, made: int, real: int) -> None:  # noqa: B027 - an evaluator may accept everything
        """Refuse, before any long work, what could not be judged after it.

        Args:
            judged: a batch of true images in the place of made ones.
            made: number of images that will be made.
            real: number of real ones.

        Raises:
            GccError: such images, or so few, cannot be judged.
        """

    @property
    def protocol(self) -> str:
        """What else than the numbers and sizes of images the figure depends on, as a phrase."""
        return ""


class ImageEvaluator(Evaluator):
    """Compares every made image with the true one, or with what the data says of that."""

    @abc.abstractmethod
    def compare(self, judged: Judged) -> Tensor:
        """Return an observation per image, (N, ...)."""

    def check(self, judged: Judged, made: int, real: int) -> None:
        """Compare the batch, and forget it."""
        self.compare(judged)

    def figure(self, observations: Tensor) -> float:
        """Return the figure of all observations, (M, ...): their mean by default."""
        return float(observations.double().mean())


class SetEvaluator(Evaluator):
    """Compares all made images with all real ones."""

    extractor: ClassVar[type[Extractor]]
    """Gives the features that are compared."""

    @abc.abstractmethod
    def distance(self, made: Tensor, real: Tensor) -> float:
        """Return the figure for features (M, F) of made images and (N, F) of real ones, on the CPU."""


def implements(*contracts: type[Any]) -> Callable[[Any], None]:
    """Return a check that a plugin is a concrete subclass of one of `contracts`, naming what it lacks."""

    def check(plugin: Any) -> None:
        contract = next((one for one in contracts if inspect.isclass(plugin) and issubclass(plugin, one)), None)
        if contract is None:
            names = " or ".join(f"{one.__module__}.{one.__name__}" for one in contracts)
            raise PluginError(f"{plugin!r} is no subclass of {names}")
        lacking = sorted(getattr(plugin, "__abstractmethods__", ()))
        lacking += [name for name in _declared(contract) if not hasattr(plugin, name)]
        if lacking:
            raise PluginError(f"{plugin.__name__} lacks {', '.join(lacking)} of the contract {contract.__name__}")

    return check


def _declared(contract: type[Any]) -> list[str]:
    """Return the class attributes that the contract, and those that it extends, annotate without a default."""
    names = (name for one in reversed(contract.__mro__) for name in inspect.get_annotations(one))
    return [name for name in dict.fromkeys(names) if not hasattr(contract, name)]

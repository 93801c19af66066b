"""Values that pass between plugins and the core."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from gcc.recipe import Recipe
from gcc.utils.renamed import renamed_keywords

if TYPE_CHECKING:
    from torch import Tensor, nn


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
class EvalSample:
    """What evaluators see of one generator on a batch.

    Attributes:
        batch: the data.
        fake: the generator's images, (N, 3, H, W) in [-1, 1].
        source: key of what the images were made of.
        target: key of the real images of the domain that they are to lie in; their true counterparts where the family is `paired`.
    """

    batch: Batch
    fake: Tensor
    source: str
    target: str

    @property
    def real(self) -> Tensor:
        """The real images, (N, 3, H, W) in [-1, 1]."""
        return self.batch[self.target]

    @property
    def made(self) -> Tensor:
        """`fake` under its name in version 0.1."""
        return self.fake


EvalSample.__init__ = renamed_keywords(DeprecationWarning, made="fake")(EvalSample.__init__)  # type: ignore[method-assign]


class MetricKey(str):
    """The key of a metric: an evaluator, and the named subset of the split that it was computed on, if the data set has subsets.

    It equals the text that people read and that files hold, such as `psnr_y (Set5)`.

    >>> MetricKey("psnr_y", "Set5")
    'psnr_y (Set5)'
    >>> MetricKey.parse("psnr_y (Set5)").evaluator
    'psnr_y'
    """

    evaluator: str
    subset: str

    def __new__(cls, evaluator: str, subset: str = "") -> MetricKey:
        """Return the key of an evaluator's metric on a subset; an empty subset stands for the whole split."""
        key = super().__new__(cls, f"{evaluator} ({subset})" if subset else evaluator)
        key.evaluator, key.subset = evaluator, subset
        return key

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return self.evaluator, self.subset

    @classmethod
    def parse(cls, text: str) -> MetricKey:
        """Return the key that a file holds as text."""
        evaluator, parenthesis, subset = text.partition(" (")
        return cls(evaluator, subset.removesuffix(")")) if parenthesis else cls(text)


@dataclass(frozen=True)
class StateDictMapping:
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

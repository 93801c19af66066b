"""Types that plugins and the core exchange."""

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
"""The generators' outputs for a batch by key, such as `fake`."""
Networks = Mapping[str, "nn.Module"]
"""Networks by name, such as the generators or the discriminators of the teacher."""


class Gate(Protocol):
    """Builds the module through which a discriminator's channels can be switched off."""

    def __call__(self, channels: int) -> nn.Module:
        """Return a module that maps (N, channels, H, W) to the same shape."""


def no_gate(channels: int) -> nn.Module:
    """Return the teacher's gate: an identity, so that module paths are those of the student."""
    from torch import nn

    return nn.Identity()


@dataclass(frozen=True)
class Width:
    """One prunable width of a generator: its channels in the full network, and the fewest it can keep."""

    channels: int
    minimum: int = 1
    """0 if the builder leaves out the level or block once no channel remains."""


@dataclass(frozen=True)
class Pair:
    """The real and fake inputs of one discriminator, each (N, C, H, W)."""

    real: Tensor
    fake: Tensor


@dataclass(frozen=True)
class Taps:
    """Module paths of the layers that are distilled (Table II), by network."""

    generator: tuple[str, ...]
    discriminator: tuple[str, ...]


@dataclass(frozen=True)
class EvalSample:
    """The input of evaluators: one generator's images for a batch.

    Attributes:
        batch: the batch.
        fake: the generated images, (N, C, H, W) in [-1, 1].
        source: key of the generator's input in the batch.
        target: key of the real images of the target domain; these are the true counterparts if the family is `paired`.
    """

    batch: Batch
    fake: Tensor
    source: str
    target: str

    @property
    def real(self) -> Tensor:
        """The real images, (N, C, H, W) in [-1, 1]."""
        return self.batch[self.target]

    @property
    def made(self) -> Tensor:
        """`fake` under its name in version 0.1."""
        return self.fake


EvalSample.__init__ = renamed_keywords(DeprecationWarning, made="fake")(EvalSample.__init__)  # type: ignore[method-assign]


class MetricKey(str):
    """The key of a metric: the evaluator, and the named subset of the split on which it was computed, if the dataset has subsets.

    It equals the text that reports and files show, such as `psnr_y (Set5)`.

    >>> MetricKey("psnr_y", "Set5")
    'psnr_y (Set5)'
    >>> MetricKey.parse("psnr_y (Set5)").evaluator
    'psnr_y'
    """

    evaluator: str
    subset: str

    def __new__(cls, evaluator: str, subset: str = "") -> MetricKey:
        """Return the key of an evaluator's metric on a subset; an empty subset means the whole split."""
        key = super().__new__(cls, f"{evaluator} ({subset})" if subset else evaluator)
        key.evaluator, key.subset = evaluator, subset
        return key

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]
        return self.evaluator, self.subset

    @classmethod
    def parse(cls, text: str) -> MetricKey:
        """Return the key for its text."""
        evaluator, parenthesis, subset = text.partition(" (")
        return cls(evaluator, subset.removesuffix(")")) if parenthesis else cls(text)


@dataclass(frozen=True)
class StateDictMapping:
    """How to read a generator's weights from another program's state dict.

    Attributes:
        settings: recipe fields that follow from the weights.
        modules: the other program's module path, by the path of our module, for each module with tensors.
        ignored: names of tensors that do not affect the generator's output.
    """

    settings: Mapping[str, Any]
    modules: Mapping[str, str]
    ignored: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Producer:
    """The weight of a convolution or linear layer that produces a group's channels.

    Attributes:
        parameter: name of the weight in the generator, or of the tensor that it is stored as under spectral norm or weight norm;
            `effective_weight` returns the weight that the layer computes with, and `effective_gradient` the gradient by it.
        dim: its output dimension (0 for a convolution, 1 for a transposed one).
        ratio: outputs for each channel of the group, consecutive in `dim` (4 before a pixel shuffle by 2); `check_architecture` checks it.
    """

    parameter: str
    dim: int
    ratio: int


@dataclass(frozen=True)
class Group:
    """The channels of one width, which share one name.

    Attributes:
        name: the width's name.
        channels: number of channels.
        minimum: fewest channels that can be kept.
        producers: the layers that produce the channels; several if their outputs are summed.
        scales: names of the normalisation scales of exactly these channels.
    """

    name: str
    channels: int
    minimum: int
    producers: tuple[Producer, ...]
    scales: tuple[str, ...]

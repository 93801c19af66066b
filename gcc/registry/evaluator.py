"""The contract of an evaluator, and of the networks whose features evaluators share."""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from gcc.registry.dataset import DatasetSource
from gcc.registry.renamed import AcceptsOldNames
from gcc.registry.types import EvalSample

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from torch import Tensor

    from gcc.utils.weights import Weights


@dataclass(frozen=True)
class EvalContext:
    """What evaluators may draw on.

    Attributes:
        weights: where trained weights are found.
        device: where networks run.
        training: gives the training split, for what is to be learned from it.
        store: folder for what takes long to compute and holds for later runs; none where there is none.
    """

    weights: Weights
    device: torch.device
    training: Callable[[], DatasetSource]
    store: Path | None = None


class Extractor(abc.ABC):
    """Features of single images, from a trained network; several evaluators share them."""

    name: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, context: EvalContext) -> None:
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


class Evaluator(AcceptsOldNames, abc.ABC):
    """A figure of quality over many images: an `ImageEvaluator` or a `SetEvaluator`.

    Made once and asked often: it holds what it needs, such as trained weights, and nothing of the images that it has seen.
    """

    renamed = {"figure": "aggregate"}

    unit: ClassVar[str] = ""
    """What the figure is given in, such as "dB"."""
    larger_is_better: ClassVar[bool]

    def __init__(self, context: EvalContext) -> None:  # noqa: B027 - an evaluator may need nothing
        """Load what is needed.

        Raises:
            GccError: trained weights or a package are missing; the message says which, and where people get them.
        """

    def check(self, sample: EvalSample, fake: int, real: int) -> None:  # noqa: B027 - an evaluator may accept everything
        """Refuse, before any long work, what could not be judged after it.

        Args:
            sample: a batch of true images in the place of made ones.
            fake: number of images that will be made.
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
    def compare(self, sample: EvalSample) -> Tensor:
        """Return an observation per image, (N, ...)."""

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Compare the batch, and forget it."""
        self.compare(sample)

    def aggregate(self, observations: Tensor) -> float:
        """Return the figure of all observations, (M, ...): their mean by default."""
        return float(observations.double().mean())


class SetEvaluator(Evaluator):
    """Compares all made images with all real ones."""

    extractor: ClassVar[type[Extractor]]
    """Gives the features that are compared."""

    @abc.abstractmethod
    def distance(self, fake: Tensor, real: Tensor) -> float:
        """Return the figure for features (M, F) of made images and (N, F) of real ones, on the CPU."""

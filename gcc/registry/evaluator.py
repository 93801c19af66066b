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

    from gcc.utils.distributed import Ranks
    from gcc.utils.weights import Weights


@dataclass(frozen=True)
class EvalContext:
    """Resources for evaluators.

    Attributes:
        weights: finds trained weights.
        device: the device on which networks run.
        training: returns the training split, for evaluators that learn from it.
        store: folder for results that take long to compute and can be reused by later runs; None if there is none.
    """

    weights: Weights
    device: torch.device
    training: Callable[[], DatasetSource]
    store: Path | None = None


class Extractor(abc.ABC):
    """Computes features of single images with a trained network; several evaluators share them."""

    name: ClassVar[str]

    @abc.abstractmethod
    def __init__(self, context: EvalContext) -> None:
        """Load the weights.

        Raises:
            GccError: they are missing; the message names the file and where to get it.
        """

    @property
    @abc.abstractmethod
    def protocol(self) -> str:
        """How images are resized and which weights are used, as a phrase."""

    @abc.abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Map images (N, 3, H, W) of 8-bit RGB to features (N, F)."""


class Evaluator(AcceptsOldNames, abc.ABC):
    """Computes a metric of quality over many images: an `ImageEvaluator` or a `SetEvaluator`.

    It is created once and used often. It may hold resources such as trained weights, but no state about the images it has evaluated.
    """

    renamed = {"figure": "aggregate"}

    unit: ClassVar[str] = ""
    """Unit of the metric, such as "dB"."""
    larger_is_better: ClassVar[bool]
    needs_rgb: ClassVar[bool] = True
    """Whether it evaluates RGB images only. It then gets grey images with three equal channels, and those of other channels are refused."""
    perceptual: ClassVar[bool] = False
    """Whether the metric follows what people see, so that it may select the epoch that becomes the result. Pixel-wise ones prefer blur."""

    def __init__(self, context: EvalContext) -> None:  # noqa: B027 - an evaluator may need nothing
        """Load the resources that the evaluator needs.

        Raises:
            GccError: trained weights or a package are missing; the message names them and where to get them.
        """

    def check(self, sample: EvalSample, fake: int, real: int) -> None:  # noqa: B027 - an evaluator may accept everything
        """Refuse images that cannot be evaluated, before any long work.

        Args:
            sample: a batch of real images in place of generated ones.
            fake: number of images that will be generated.
            real: number of real images.

        Raises:
            GccError: such images, or so few of them, cannot be evaluated.
        """

    def prepare(self, ranks: Ranks) -> None:  # noqa: B027 - an evaluator may need nothing
        """Do long work once, such as training a network, before the first images are evaluated.

        All processes of a run call this together. `ranks.compute_on_main_process` trains in one of them and sends the result to the others,
        so that all evaluate with the same network.

        Args:
            ranks: the processes; a single one if the run is not distributed.

        Raises:
            GccError: the work failed.
        """

    @property
    def protocol(self) -> str:
        """What the metric depends on besides the numbers and sizes of images, as a phrase."""
        return ""


class ImageEvaluator(Evaluator):
    """Compares every generated image with its ground-truth image or with that image's labels."""

    reports_real: ClassVar[bool] = False
    """Whether the protocol also reports the metric of the real images in place of the generated ones."""

    @abc.abstractmethod
    def compare(self, sample: EvalSample) -> Tensor:
        """Return an observation per image, (N, ...)."""

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Compare the batch once and discard the result."""
        self.compare(sample)

    def aggregate(self, observations: Tensor) -> float:
        """Return the metric of all observations, (M, ...); their mean by default."""
        return float(observations.double().mean())


class SetEvaluator(Evaluator):
    """Compares all generated images with all real ones."""

    perceptual = True
    extractor: ClassVar[type[Extractor]]
    """Computes the features that are compared."""

    @abc.abstractmethod
    def distance(self, fake: Tensor, real: Tensor) -> float:
        """Return the metric for features (M, F) of generated images and (N, F) of real ones, on the CPU."""

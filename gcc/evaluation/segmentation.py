"""Whether a segmenter finds in made images what they were made to show."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from gcc.registry.evaluator import EvalContext, ImageEvaluator
from gcc.registry.types import EvalSample
from gcc.utils.optional import needed

IGNORED = 255
"""Label of pixels that do not count."""


class MeanIoU(ImageEvaluator):
    """Mean over classes of intersection over union, in percent, of what a segmenter finds in made images and what the labels say.

    Over the pixels of all images together; a class counts where any label or any answer names it. A segmenter is a subclass.

    Attributes:
        classes: how many there are; labels go from 0 to `classes` - 1.
    """

    unit = "%"
    larger_is_better = True
    classes: int

    def __init__(self, context: EvalContext) -> None:
        require_torchmetrics()

    @abc.abstractmethod
    def segment(self, images: Tensor, height: int, width: int) -> Tensor:
        """Return the class of every pixel, (N, `height`, `width`) int64, of images (N, 3, H, W) in [-1, 1]."""

    @abc.abstractmethod
    def truth(self, sample: EvalSample) -> Tensor:
        """Return the labels that the images were made of, (N, h, w) int64, with 255 where a pixel does not count.

        Raises:
            GccError: the data has none.
        """

    def compare(self, sample: EvalSample) -> Tensor:
        labels = self.truth(sample)
        return confusions(self.segment(sample.fake, *labels.shape[-2:]), labels, self.classes)

    def aggregate(self, observations: Tensor) -> float:
        return mean_iou(observations.sum(0))


def require_torchmetrics() -> None:
    """Refuse to go on without torchmetrics.

    Raises:
        GccError: it is not installed.
    """
    with needed("mean IoU", "torchmetrics"):
        import torchmetrics.functional.classification  # noqa: F401 - whether it can be


def confusions(found: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return how many pixels of each image have this label (row) and this answer (column), (N, classes, classes).

    Args:
        found: a class for every pixel, (N, H, W).
        labels: the true ones, with 255 for pixels that do not count.
        classes: how many there are.
    """
    from torchmetrics.functional.classification import multiclass_confusion_matrix

    each = [
        # Its checks sort the pixels, which takes longer than to count them.
        multiclass_confusion_matrix(answer, label, num_classes=classes, ignore_index=IGNORED, validate_args=False)
        for answer, label in zip(found, labels, strict=True)
    ]
    return torch.stack(each)


def mean_iou(confusion: Tensor) -> float:
    """Return the mean IoU in percent of counts by label and answer, (classes, classes), over the classes that occur in either."""
    counts = confusion.double()
    both = counts.diagonal()
    either = counts.sum(0) + counts.sum(1) - both
    occurs = either > 0
    return float(100 * (both[occurs] / either[occurs]).mean())

"""Mean intersection over union: whether a segmenter recovers the labels that images were generated from."""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from gcc.registry.evaluator import EvalContext, ImageEvaluator
from gcc.registry.types import EvalSample
from gcc.utils.optional import needed

IGNORED = 255
"""Label of pixels that are not evaluated."""


class MeanIoU(ImageEvaluator):
    """Mean over classes of intersection over union, in percent, of a segmenter's predictions on fake images and the labels.

    Computed over the pixels of all images. A class counts if it occurs in any label or prediction. Subclasses provide the segmenter.

    Attributes:
        classes: number of classes; labels go from 0 to `classes` - 1.
    """

    unit = "%"
    larger_is_better = True
    perceptual = True
    classes: int

    def __init__(self, context: EvalContext) -> None:
        with needed("mean IoU", "torchmetrics"):
            import torchmetrics.functional.classification  # noqa: F401 - only checks that it is installed

    @abc.abstractmethod
    def segment(self, images: Tensor, height: int, width: int) -> Tensor:
        """Return the predicted classes, (N, `height`, `width`) int64, of images (N, 3, H, W) in [-1, 1]."""

    @abc.abstractmethod
    def truth(self, sample: EvalSample) -> Tensor:
        """Return the labels that the images were generated from, (N, h, w) int64, with 255 for pixels that are not evaluated.

        Raises:
            GccError: the data has no labels.
        """

    def compare(self, sample: EvalSample) -> Tensor:
        labels = self.truth(sample)
        return confusions(self.segment(sample.fake, *labels.shape[-2:]), labels, self.classes)

    def aggregate(self, observations: Tensor) -> float:
        return mean_iou(observations.sum(0))


def confusions(predicted: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the confusion matrix of each image: pixel counts by label (row) and predicted class (column), (N, classes, classes).

    Args:
        predicted: the predicted classes, (N, H, W).
        labels: the true classes, (N, H, W), with 255 for pixels that are not evaluated.
        classes: number of classes.
    """
    counted = labels != IGNORED
    cells = (labels * classes + predicted).cpu()
    # On a GPU, `bincount` is refused in deterministic mode.
    counts = [image[inside].bincount(minlength=classes**2) for image, inside in zip(cells, counted.cpu(), strict=True)]
    return torch.stack(counts).view(-1, classes, classes).to(predicted.device)


def mean_iou(confusion: Tensor) -> float:
    """Return the mean IoU in percent of a confusion matrix (classes, classes), over the classes that occur in labels or predictions."""
    counts = confusion.double()
    intersection = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - intersection
    occurs = union > 0
    return float(100 * (intersection[occurs] / union[occurs]).mean())

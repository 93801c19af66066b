"""Mean IoU against loops over pixels, with absent classes and ignored pixels."""

import math
import sys

import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index

from gcc.errors import GccError
from gcc.evaluation.segmentation import MeanIoU, confusions
from gcc.utils.backend import deterministic_algorithms
from tests.helpers.evaluators import context, eval_sample, metric


class ByRed(MeanIoU):
    """Predicts the red channel's level, at twice the size."""

    classes = 5

    def segment(self, images, height, width):
        return images[:, 0].repeat_interleave(height // images.shape[-2], 1).repeat_interleave(width // images.shape[-1], 2).long()

    def truth(self, sample):
        return sample.batch["labels"]


def sample(seed, n, classes=(0, 1, 2, 4, 255), answers=(0, 1, 2)):
    random = torch.Generator().manual_seed(seed)
    fake = torch.tensor(answers)[torch.randint(len(answers), (n, 3, 4, 6), generator=random)].float()
    labels = torch.tensor(classes)[torch.randint(len(classes), (n, 8, 12), generator=random)]
    return eval_sample(fake, labels=labels)


def naive(batches):
    intersections, unions = dict.fromkeys(range(5), 0), dict.fromkeys(range(5), 0)
    for batch in batches:
        for image, labels in zip(batch.fake.tolist(), batch.batch["labels"].tolist(), strict=True):
            for y, row in enumerate(labels):
                for x, label in enumerate(row):
                    answer = int(image[0][y // 2][x // 2])
                    if label == 255:
                        continue
                    for one in {label, answer}:
                        unions[one] += 1
                    intersections[label] += label == answer
    return 100 * sum(intersections[c] / unions[c] for c in unions if unions[c]) / sum(map(bool, unions.values()))


def test_classes_that_occur_count_once_each_and_ignored_pixels_do_not():
    # Class 3 never occurs, class 4 only in labels.
    batches = [sample(0, 3), sample(1, 1), sample(2, 2)]
    assert metric(ByRed(context()), *batches) == pytest.approx(naive(batches), rel=1e-12)


def test_a_class_that_is_only_predicted_counts():
    batches = [sample(0, 2, classes=(0, 1), answers=(0, 3))]
    assert metric(ByRed(context()), *batches) == pytest.approx(naive(batches), rel=1e-12)


def test_the_metric_is_torchmetrics_if_all_classes_occur():
    images = sample(3, 4, classes=(0, 1, 2, 3, 4, 255), answers=(0, 1, 2, 3, 4))
    predicted = ByRed(context()).segment(images.fake, 8, 12)
    expected = multiclass_jaccard_index(predicted, images.batch["labels"], num_classes=5, ignore_index=255)
    assert metric(ByRed(context()), images) == pytest.approx(100 * expected.item(), rel=1e-6)


def test_extremes():
    images = sample(4, 2, classes=(0, 2), answers=(0, 2))
    perfect = eval_sample(images.fake, labels=ByRed(context()).segment(images.fake, 8, 12))
    assert metric(ByRed(context()), perfect) == 100
    wrong = eval_sample(torch.zeros(1, 3, 2, 2), labels=torch.ones(1, 2, 2, dtype=torch.long))
    assert metric(ByRed(context()), wrong) == 0
    ignored = eval_sample(torch.zeros(1, 3, 2, 2), labels=torch.full((1, 2, 2), 255))
    assert math.isnan(metric(ByRed(context()), ignored))


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(GccError, match=r"mean IoU needs torchmetrics: pip install 'gan-gcc\[eval\]'"):
        ByRed(context())


def test_confusions_count_pixels_of_large_images_in_deterministic_mode():
    random = torch.Generator().manual_seed(5)
    labels = torch.tensor([*range(19), 255])[torch.randint(20, (2, 512, 1024), generator=random)]
    predicted = torch.randint(19, labels.shape, generator=random)
    with deterministic_algorithms():
        counts = confusions(predicted, labels, 19)
    expected = torch.stack([((labels == row) & (predicted == column)).sum((1, 2)) for row in range(19) for column in range(19)], 1)
    assert torch.equal(counts, expected.view(2, 19, 19))

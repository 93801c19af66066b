"""Mean IoU against loops over pixels, with classes that are absent and pixels that do not count."""

import math
import sys

import pytest
import torch
from torchmetrics.functional.classification import multiclass_jaccard_index

from gcc.errors import GccError
from gcc.evaluation.segmentation import MeanIoU
from tests.helpers.evaluators import context, figure, judged


class ByRed(MeanIoU):
    """Takes the red channel's level, doubled in size, for the class."""

    classes = 5

    def segment(self, images, height, width):
        return images[:, 0].repeat_interleave(height // images.shape[-2], 1).repeat_interleave(width // images.shape[-1], 2).long()

    def truth(self, judged):
        return judged.batch["labels"]


def seen(seed, n, classes=(0, 1, 2, 4, 255), answers=(0, 1, 2)):
    random = torch.Generator().manual_seed(seed)
    made = torch.tensor(answers)[torch.randint(len(answers), (n, 3, 4, 6), generator=random)].float()
    labels = torch.tensor(classes)[torch.randint(len(classes), (n, 8, 12), generator=random)]
    return judged(made, labels=labels)


def naive(batches):
    inside, touched = dict.fromkeys(range(5), 0), dict.fromkeys(range(5), 0)
    for batch in batches:
        for image, labels in zip(batch.fake.tolist(), batch.batch["labels"].tolist(), strict=True):
            for y, row in enumerate(labels):
                for x, label in enumerate(row):
                    answer = int(image[0][y // 2][x // 2])
                    if label == 255:
                        continue
                    for each in {label, answer}:
                        touched[each] += 1
                    inside[label] += label == answer
    return 100 * sum(inside[c] / touched[c] for c in touched if touched[c]) / sum(map(bool, touched.values()))


def test_classes_that_occur_count_once_each_and_some_pixels_not_at_all():
    # Class 3 never occurs, class 4 in labels alone.
    batches = [seen(0, 3), seen(1, 1), seen(2, 2)]
    assert figure(ByRed(context()), *batches) == pytest.approx(naive(batches), rel=1e-12)


def test_a_class_that_is_wrongly_found_counts():
    batches = [seen(0, 2, classes=(0, 1), answers=(0, 3))]
    assert figure(ByRed(context()), *batches) == pytest.approx(naive(batches), rel=1e-12)


def test_the_figure_is_torchmetrics_where_all_classes_occur():
    each = seen(3, 4, classes=(0, 1, 2, 3, 4, 255), answers=(0, 1, 2, 3, 4))
    found = ByRed(context()).segment(each.fake, 8, 12)
    expected = multiclass_jaccard_index(found, each.batch["labels"], num_classes=5, ignore_index=255)
    assert figure(ByRed(context()), each) == pytest.approx(100 * expected.item(), rel=1e-6)


def test_extremes():
    each = seen(4, 2, classes=(0, 2), answers=(0, 2))
    perfect = judged(each.fake, labels=ByRed(context()).segment(each.fake, 8, 12))
    assert figure(ByRed(context()), perfect) == 100
    wrong = judged(torch.zeros(1, 3, 2, 2), labels=torch.ones(1, 2, 2, dtype=torch.long))
    assert figure(ByRed(context()), wrong) == 0
    nothing = judged(torch.zeros(1, 3, 2, 2), labels=torch.full((1, 2, 2), 255))
    assert math.isnan(figure(ByRed(context()), nothing))


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchmetrics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(GccError, match=r"mean IoU needs torchmetrics: pip install 'gan-gcc\[eval\]'"):
        ByRed(context())

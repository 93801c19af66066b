"""Evaluators of RGB images get grey ones repeated, and refuse images of other channels."""

import pytest
import torch

from gcc.errors import GccError
from gcc.evaluation.collection import EvaluatorCollection, ImageCounts
from gcc.registry import MetricKey
from tests.helpers.evaluators import context, eval_sample


def collection(*names):
    return EvaluatorCollection(names, context(), paired=True)


def random(channels, seed=0):
    return torch.rand(2, channels, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("name", ["l1", "psnr", "ssim", "psnr_y", "ssim_y"])
def test_grey_has_the_metric_of_its_repetition(name):
    evaluators, fake, real = collection(name), random(1), random(1, seed=1)
    grey, colours = (eval_sample(fake.expand(-1, n, -1, -1), real.expand(-1, n, -1, -1)) for n in (1, 3))
    evaluators.check(grey, 2, 2)
    torch.testing.assert_close(evaluators.compare(grey)[name], evaluators.compare(colours)[name])


def test_evaluators_of_rgb_refuse_other_channels():
    evaluators = collection("psnr_y")
    with pytest.raises(GccError, match="psnr_y evaluates RGB images, or grey ones, and these have 4 channels: leave it out"):
        evaluators.check(eval_sample(random(4)), 2, 2)
    collection("psnr", "l1", "ssim").check(eval_sample(random(4)), 2, 2)


@pytest.mark.parametrize(
    ("name", "channels", "text"),
    [
        ("psnr_y", 3, "2 images, 32x32 pixels"),
        ("psnr_y", 1, "2 images, 32x32 pixels, grey repeated as RGB"),
        ("psnr", 1, "2 images, 32x32 pixels, 1 channel in place of RGB"),
        ("l1", 4, "2 images, 32x32 pixels, 4 channels in place of RGB"),
    ],
)
def test_the_protocol_says_how_channels_are_read(name, channels, text):
    assert collection(name).protocol(MetricKey(name), ImageCounts(2, 2, [(32, 32)], channels=channels)) == text

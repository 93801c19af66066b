"""What lower precision costs equals a naive calculation."""

import math

import pytest
import torch
from torch import nn

from gcc.deploy.quality import QualityMeter, Samples


def naive_psnr(image, other):
    values = [((float(a) + 1) / 2, (float(b) + 1) / 2) for a, b in zip(image.flatten(), other.flatten(), strict=True)]
    return -10 * math.log10(sum((a - b) ** 2 for a, b in values) / len(values))


@pytest.mark.parametrize("knows_truth", [False, True])
def test_the_loss_equals_a_naive_calculation(knows_truth):
    torch.manual_seed(0)
    inputs = [torch.rand(1, 3, 4, 5) * 2 - 1 for _ in range(3)]
    truth = [torch.rand(1, 3, 4, 5) * 2 - 1 for _ in range(3)]
    weaker = nn.Hardtanh(-0.8, 0.8)
    loss = QualityMeter(nn.Identity(), Samples([], inputs, truth if knows_truth else None, "three")).measure(weaker)
    own = [naive_psnr(weaker(image), image) for image in inputs]
    assert loss.psnr == pytest.approx(sum(own) / 3, rel=1e-6) and loss.worst == pytest.approx(min(own), rel=1e-6)
    if knows_truth:
        drops = [naive_psnr(image, real) - naive_psnr(weaker(image), real) for image, real in zip(inputs, truth, strict=True)]
    else:
        # The errors of an image 30 dB from the truth and of lower precision add up.
        drops = [10 * math.log10((10 ** (-30 / 10) + 10 ** (-psnr / 10)) / 10 ** (-30 / 10)) for psnr in own]
    assert loss.drop == pytest.approx(sum(drops) / 3, rel=1e-4) and loss.knows_truth is knows_truth
    assert ("to the real images" if knows_truth else "30 dB from the truth") in str(loss) and str(loss).endswith("on three")

"""Metrics of the luminance against loops over Python floats, and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio, structural_similarity_index_measure

from gcc.data.images import to_image
from gcc.errors import DataError
from gcc.evaluation.luminance import PSNRY, SSIMY, luminance
from tests.helpers.evaluators import context, eval_sample, metric
from tests.losses.test_ssim import ssim_by_loops


def images(seed, n=2, height=23, width=21):
    random = torch.Generator().manual_seed(seed)
    real = torch.randint(0, 256, (n, 3, height, width), generator=random) / 127.5 - 1
    return real + 0.3 * torch.randn(real.shape, generator=random), real


def levels(image):
    """Return the luminance of an image as it is saved, without the border, as rows of floats."""
    saved = to_image(image)
    rows = []
    for y in range(4, saved.height - 4):
        pixels = [saved.getpixel((x, y)) for x in range(4, saved.width - 4)]
        rows.append([16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255 for r, g, b in pixels])
    return rows


def psnr(fake, real):
    errors = [(a - b) ** 2 for first, second in zip(fake, real, strict=True) for a, b in zip(first, second, strict=True)]
    return 10 * math.log10(255**2 / (sum(errors) / len(errors)))


def ssim(fake, real):
    return ssim_by_loops([fake], [real], 255)


@pytest.mark.parametrize(("kind", "naive"), [(PSNRY, psnr), (SSIMY, ssim)])
def test_means_over_images_of_any_size(kind, naive):
    pairs = (images(0), images(1, 1, 19, 30))
    expected = [naive(levels(m), levels(r)) for fake, real in pairs for m, r in zip(fake, real, strict=True)]
    samples = [eval_sample(fake, real) for fake, real in pairs]
    assert metric(kind(context()), *samples) == pytest.approx(sum(expected) / 3, rel=1e-10)


def test_metrics_are_torchmetrics():
    fake, real = images(5, 4, 40, 33)
    one, other = luminance(fake), luminance(real)
    expected = peak_signal_noise_ratio(one, other, data_range=255.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(PSNRY(context()).compare(eval_sample(fake, real)), expected)
    _, similarities = structural_similarity_index_measure(one, other, data_range=255.0, reduction="none", return_full_image=True)
    # Its own mean includes windows over the mirrored border.
    expected = similarities[..., 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(SSIMY(context()).compare(eval_sample(fake, real)), expected, check_dtype=False, rtol=1e-9, atol=0)


def metrics(fake, real):
    return [metric(kind(context()), eval_sample(fake, real)) for kind in (PSNRY, SSIMY)]


def test_identical_images_and_their_order():
    fake, real = images(2)
    assert metrics(real, real) == [100, pytest.approx(1)]
    assert metrics(fake, real) == pytest.approx(metrics(real, fake))


@pytest.mark.parametrize("k", [1, 5, 40])
def test_grey_that_is_off_by_some_levels(k):
    grey = torch.full((1, 3, 24, 24), 100 / 127.5 - 1)
    offset, level = 219 * k / 255, 16 + 219 * 100 / 255
    c1 = (0.01 * 255) ** 2
    means = (2 * level * (level + offset) + c1) / (level**2 + (level + offset) ** 2 + c1)
    assert metrics(grey + k / 127.5, grey) == [pytest.approx(20 * math.log10(255 / offset)), pytest.approx(means)]


def test_black_and_white():
    white = torch.ones(1, 3, 19, 19)
    assert metrics(-white, white)[0] == pytest.approx(20 * math.log10(255 / 219))


def test_images_are_rounded_and_clipped_as_when_they_are_saved():
    _, real = images(3)
    assert metrics((real + 0.4 / 127.5), real)[0] == 100
    assert metrics(torch.full_like(real, 7), torch.ones_like(real))[0] == 100


def test_the_border_does_not_count():
    fake, real = images(4)
    fake[..., 4:-4, 4:-4] = real[..., 4:-4, 4:-4]
    assert metrics(fake, real) == [100, pytest.approx(1)]


@pytest.mark.parametrize("kind", [PSNRY, SSIMY])
def test_small_images(kind):
    assert kind.unit == {PSNRY: "dB", SSIMY: ""}[kind]
    with pytest.raises(DataError, match="30x18 pixels is too small.*at least 19x19"):
        kind(context()).compare(eval_sample(torch.zeros(1, 3, 18, 30)))

"""Pixel distances against loops over Python floats, and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from gcc.evaluation.pixels import L1, PSNR
from tests.helpers.evaluators import context, eval_sample, metric


def images(seed, n):
    random = torch.Generator().manual_seed(seed)
    noise = torch.linspace(0.05, 1, n).view(-1, 1, 1, 1)
    real = torch.rand(n, 3, 4, 5, generator=random) * 2 - 1
    return (real + noise * torch.randn(real.shape, generator=random)).clamp(-1, 1), real


def naive(fake, real):
    """Return per image the mean absolute and the mean squared error of values in [0, 1]."""
    for m, r in zip(fake.double(), real.double(), strict=True):
        differences = [(a + 1) / 2 - (b + 1) / 2 for a, b in zip(m.flatten().tolist(), r.flatten().tolist(), strict=True)]
        yield sum(map(abs, differences)) / len(differences), sum(d * d for d in differences) / len(differences)


def test_metrics_are_means_over_images_for_any_batches():
    fake, real = images(0, 7)
    errors = list(naive(fake, real))
    expected = {L1: sum(a for a, _ in errors) / 7, PSNR: sum(10 * math.log10(1 / s) for _, s in errors) / 7}
    for kind, value in expected.items():
        for sizes in ([7], [3, 3, 1], [1] * 7):
            samples = [eval_sample(m, r) for m, r in zip(fake.split(sizes), real.split(sizes), strict=True)]
            assert metric(kind(context()), *samples) == pytest.approx(value, rel=1e-5)


def test_psnr_is_torchmetrics():
    fake, real = images(1, 5)
    expected = peak_signal_noise_ratio((fake + 1) / 2, (real + 1) / 2, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(PSNR(context()).compare(eval_sample(fake, real)), expected)


def test_extremes():
    black, white = torch.full((1, 3, 2, 2), -1.0), torch.full((1, 3, 2, 2), 1.0)
    for kind, same, opposite in ((L1, 0.0, 1.0), (PSNR, 100.0, 0.0)):
        assert metric(kind(context()), eval_sample(white, white)) == same
        assert metric(kind(context()), eval_sample(black, white)) == pytest.approx(opposite, abs=1e-5)


def test_half_images_are_measured_in_float32():
    fake, real = torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16), torch.full((1, 3, 2, 2), 0.25)
    assert metric(L1(context()), eval_sample(fake, real)) == 0.125


def test_order_of_arguments_does_not_matter_and_units():
    fake, real = images(1, 2)
    for kind in (L1, PSNR):
        assert metric(kind(context()), eval_sample(fake, real)) == pytest.approx(metric(kind(context()), eval_sample(real, fake)))
    assert PSNR.unit == "dB" and L1.unit == ""

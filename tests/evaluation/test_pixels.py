"""Pixel distances against loops over Python floats, and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.functional.image import peak_signal_noise_ratio

from gcc.evaluation.pixels import L1, PSNR
from tests.helpers.evaluators import context, figure, judged


def images(seed, n):
    random = torch.Generator().manual_seed(seed)
    noise = torch.linspace(0.05, 1, n).view(-1, 1, 1, 1)
    real = torch.rand(n, 3, 4, 5, generator=random) * 2 - 1
    return (real + noise * torch.randn(real.shape, generator=random)).clamp(-1, 1), real


def naive(made, real):
    """Return per image the mean absolute and the mean squared error of values in [0, 1]."""
    for m, r in zip(made.double(), real.double(), strict=True):
        differences = [(a + 1) / 2 - (b + 1) / 2 for a, b in zip(m.flatten().tolist(), r.flatten().tolist(), strict=True)]
        yield sum(map(abs, differences)) / len(differences), sum(d * d for d in differences) / len(differences)


def test_figures_are_means_over_images_whatever_the_batches():
    made, real = images(0, 7)
    errors = list(naive(made, real))
    expected = {L1: sum(a for a, _ in errors) / 7, PSNR: sum(10 * math.log10(1 / s) for _, s in errors) / 7}
    for kind, value in expected.items():
        for sizes in ([7], [3, 3, 1], [1] * 7):
            seen = [judged(m, r) for m, r in zip(made.split(sizes), real.split(sizes), strict=True)]
            assert figure(kind(context()), *seen) == pytest.approx(value, rel=1e-5)


def test_psnr_is_torchmetrics():
    made, real = images(1, 5)
    expected = peak_signal_noise_ratio((made + 1) / 2, (real + 1) / 2, data_range=1.0, reduction="none", dim=(1, 2, 3))
    torch.testing.assert_close(PSNR(context()).compare(judged(made, real)), expected)


def test_extremes():
    black, white = torch.full((1, 3, 2, 2), -1.0), torch.full((1, 3, 2, 2), 1.0)
    for kind, same, opposite in ((L1, 0.0, 1.0), (PSNR, 100.0, 0.0)):
        assert figure(kind(context()), judged(white, white)) == same
        assert figure(kind(context()), judged(black, white)) == pytest.approx(opposite, abs=1e-5)


def test_half_images_are_measured_in_float32():
    made, real = torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16), torch.full((1, 3, 2, 2), 0.25)
    assert figure(L1(context()), judged(made, real)) == 0.125


def test_order_of_arguments_does_not_matter_and_units():
    made, real = images(1, 2)
    for kind in (L1, PSNR):
        assert figure(kind(context()), judged(made, real)) == pytest.approx(figure(kind(context()), judged(real, made)))
    assert PSNR.unit == "dB" and L1.unit == ""

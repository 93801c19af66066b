"""Pixel distances against loops over Python floats."""

import math

import pytest
import torch

from gcc.evaluation.pixels import L1, PSNR


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
            evaluator = kind()
            for m, r in zip(made.split(sizes), real.split(sizes), strict=True):
                evaluator.update(m, r)
            assert evaluator.compute() == pytest.approx(value, rel=1e-5)


def test_extremes():
    black, white = torch.full((1, 3, 2, 2), -1.0), torch.full((1, 3, 2, 2), 1.0)
    for kind, same, opposite in ((L1, 0.0, 1.0), (PSNR, 100.0, 0.0)):
        first, second = kind(), kind()
        first.update(white, white)
        second.update(black, white)
        assert first.compute() == same and second.compute() == pytest.approx(opposite, abs=1e-5)


def test_half_images_are_measured_in_float32():
    made, real = torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16), torch.full((1, 3, 2, 2), 0.25)
    evaluator = L1()
    evaluator.update(made, real)
    assert evaluator.compute() == 0.125


@pytest.mark.parametrize("kind", [L1, PSNR])
def test_nothing_taken_in_is_not_a_figure(kind):
    assert math.isnan(kind().compute())
    assert isinstance(kind.unit, str)


def test_order_of_arguments_does_not_matter_and_units():
    made, real = images(1, 2)
    for kind in (L1, PSNR):
        a, b = kind(), kind()
        a.update(made, real)
        b.update(real, made)
        assert a.compute() == pytest.approx(b.compute())
    assert PSNR.unit == "dB"

"""SSIM against loops in float64, and against torchmetrics."""

import math

import pytest
import torch
from torchmetrics.functional.image import structural_similarity_index_measure

from gcc.losses.ssim import structural_similarity


def images(n, channels, height, width, peak):
    random = torch.Generator().manual_seed(0)
    real = peak * torch.rand(n, channels, height, width, generator=random, dtype=torch.float64)
    return (real + 0.2 * peak * torch.randn(real.shape, generator=random, dtype=torch.float64)).clamp(0, peak), real


def ssim_by_loops(fake, real, peak):
    """Return the SSIM of two images, each a list of channels of rows."""
    window = [[math.exp(-((x - 5) ** 2 + (y - 5) ** 2) / (2 * 1.5**2)) for x in range(11)] for y in range(11)]
    total, values = sum(map(sum, window)), []
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    for one, other in zip(fake, real, strict=True):
        for top in range(len(one) - 10):
            for left in range(len(one[0]) - 10):
                pixels = [(window[y][x] / total, one[top + y][left + x], other[top + y][left + x]) for y in range(11) for x in range(11)]
                a, b = sum(w * f for w, f, _ in pixels), sum(w * r for w, _, r in pixels)
                aa, bb = sum(w * (f - a) ** 2 for w, f, _ in pixels), sum(w * (r - b) ** 2 for w, _, r in pixels)
                ab = sum(w * (f - a) * (r - b) for w, f, r in pixels)
                values.append((2 * a * b + c1) * (2 * ab + c2) / ((a * a + b * b + c1) * (aa + bb + c2)))
    return sum(values) / len(values)


@pytest.mark.parametrize(("channels", "peak"), [(3, 1), (1, 255)])
def test_ssim_by_loops(channels, peak):
    fake, real = images(2, channels, 13, 15, peak)
    expected = [ssim_by_loops(one, other, peak) for one, other in zip(fake.tolist(), real.tolist(), strict=True)]
    assert structural_similarity(fake, real, peak).tolist() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("channels", "peak"), [(3, 1), (1, 255)])
def test_ssim_is_torchmetrics_where_the_window_fits(channels, peak):
    fake, real = images(3, channels, 40, 33, peak)
    _, similarities = structural_similarity_index_measure(fake, real, data_range=float(peak), reduction="none", return_full_image=True)
    expected = similarities[..., 5:-5, 5:-5].mean((1, 2, 3))
    torch.testing.assert_close(structural_similarity(fake, real, peak), expected, rtol=1e-9, atol=0)


def test_a_single_position_and_equal_images():
    fake, real = images(1, 3, 11, 11, 1)
    assert structural_similarity(fake, real, 1).shape == (1,)
    assert structural_similarity(real, real, 1).tolist() == pytest.approx([1])

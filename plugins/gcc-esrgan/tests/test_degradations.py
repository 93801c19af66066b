"""Every degradation is what its formula says, and a seed decides all of them."""

import math

import numpy as np
import pytest
import torch
from gcc_esrgan.degradations import (
    REAL_ESRGAN,
    SECOND,
    Blur,
    Degradations,
    Noise,
    Resize,
    Round,
    degraded,
    draw_kernel,
    gaussian_noise,
    luminance,
    poisson_noise,
)
from gcc_esrgan.kernels import filtered, gaussian, plateau, sinc

OFF = Round(blur=Blur(probability=0), resize=Resize(probabilities=(0, 0, 1)), noise=Noise(gaussian=1, sigma=(0, 0)), quality=(100, 100))


def photograph(height=32, width=24, seed=0):
    """Return a smooth image with noise, (3, H, W) in [0, 1]."""
    random = torch.Generator().manual_seed(seed)
    slope = torch.linspace(0, 1, height)[:, None] * torch.linspace(0.2, 1, width)
    return (slope + 0.1 * torch.rand(3, height, width, generator=random)).clamp(0, 1)


def squared_distance(row, column, sigmas, angle):
    """Return `C^T S^-1 C` with `S = R diag(s^2) R^T`, as in Eq. 2 of the paper."""
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    covariance = turn @ np.diag(np.square(sigmas)) @ turn.T
    offset = np.array([column, row], dtype=np.float64)
    return float(offset @ np.linalg.inv(covariance) @ offset)


@pytest.mark.parametrize(
    ("kernel", "value"),
    [
        (gaussian(7, (1.5, 1.5)), lambda y, x: math.exp(-(x * x + y * y) / (2 * 1.5**2))),
        (gaussian(7, (2.0, 0.7), 0.4), lambda y, x: math.exp(-squared_distance(y, x, (2.0, 0.7), 0.4) / 2)),
        (gaussian(9, (2.0, 0.7), -1.1, 0.6), lambda y, x: math.exp(-(squared_distance(y, x, (2.0, 0.7), -1.1) ** 0.6) / 2)),
        (plateau(9, (1.2, 2.5), 2.0, 1.7), lambda y, x: 1 / (1 + squared_distance(y, x, (1.2, 2.5), 2.0) ** 1.7)),
    ],
    ids=["isotropic", "anisotropic", "generalised", "plateau"],
)
def test_kernels_are_those_of_their_formulas(kernel, value):
    half = len(kernel) // 2
    values = np.array([[value(y, x) for x in range(-half, half + 1)] for y in range(-half, half + 1)])
    np.testing.assert_allclose(kernel.numpy(), values / values.sum(), rtol=1e-10)


def bessel_j1(x):
    """Return J1(x) by its integral, `1 / pi * integral of cos(t - x sin t) from 0 to pi`."""
    steps = 2000
    return sum(math.cos(t - x * math.sin(t)) for t in ((step + 0.5) * math.pi / steps for step in range(steps))) / steps


def test_a_sinc_kernel_is_that_of_its_formula():
    cutoff, values = 1.3, np.empty((7, 7))
    for y in range(-3, 4):
        for x in range(-3, 4):
            radius = math.hypot(x, y)
            values[y + 3, x + 3] = cutoff * bessel_j1(cutoff * radius) / (2 * math.pi * radius) if radius else cutoff**2 / (4 * math.pi)
    np.testing.assert_allclose(sinc(7, cutoff).numpy(), values / values.sum(), atol=1e-9)


def test_random_kernels_keep_the_brightness_and_are_symmetric():
    random = np.random.default_rng(0)
    kernels = [draw_kernel(random, Blur()) for _ in range(200)]
    assert {len(kernel) for kernel in kernels} == {7, 9, 11, 13, 15, 17, 19, 21}
    for kernel in kernels:
        assert kernel.sum().item() == pytest.approx(1, abs=1e-12)
        torch.testing.assert_close(kernel, kernel.flip(0, 1), rtol=0, atol=1e-12)
    assert any((kernel < 0).any() for kernel in kernels)  # sinc


@pytest.mark.parametrize(("height", "width"), [(8, 6), (3, 2), (1, 4)])
def test_blur_by_loops(height, width):
    image, kernel = photograph(height, width).double(), gaussian(7, (2.0, 0.8), 0.5)

    def reflected(position, length):
        while not 0 <= position < length:
            position = -position if position < 0 else 2 * (length - 1) - position
            if length == 1:
                return 0
        return position

    expected = torch.zeros_like(image)
    for y in range(height):
        for x in range(width):
            for j in range(-3, 4):
                for i in range(-3, 4):
                    expected[:, y, x] += kernel[j + 3, i + 3] * image[:, reflected(y + j, height), reflected(x + i, width)]
    torch.testing.assert_close(filtered(image, kernel), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("is_grey", [True, False])
def test_noise(is_grey):
    image, generator = torch.full((3, 200, 200), 0.5), torch.Generator().manual_seed(0)
    image[0, 0, 0] = 0.25
    noise = gaussian_noise(image, 0.1, generator, is_grey=is_grey) - image
    assert noise.std().item() == pytest.approx(0.1, rel=0.02)
    assert torch.equal(noise[0], noise[1]) == is_grey
    # Two or more levels; the variance of counts is their mean.
    light = luminance(image) if is_grey else image
    counts = 2 ** math.ceil(math.log2(len((255 * light).round().unique())))
    noise = poisson_noise(image, 0.5, generator, is_grey=is_grey) - image
    assert noise[:, 1:].std().item() == pytest.approx(0.5 * math.sqrt(0.5 / counts), rel=0.03)
    assert torch.allclose(noise[0, 1:], noise[1, 1:]) == is_grey


def test_a_seed_decides_all():
    image = photograph()
    results = [degraded(image, 4, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_the_number_of_threads_makes_no_difference():
    image, threads = photograph(), torch.get_num_threads()
    try:
        for seed in range(3):
            results = []
            for number in (1, 2):
                torch.set_num_threads(number)
                results.append(degraded(image, 4, np.random.default_rng(seed)))
            assert torch.equal(*results)
    finally:
        torch.set_num_threads(threads)


def test_results_are_small_images_of_8_bits():
    image = photograph(16, 20)
    for seed in range(60):
        small = degraded(image, 4, np.random.default_rng(seed))
        assert small.shape == (3, 4, 5) and small.dtype == torch.float32
        assert small.min() >= 0 and small.max() <= 1
        torch.testing.assert_close(255 * small, (255 * small).round(), rtol=0, atol=1e-4)


def test_without_degradations_the_image_is_shrunk():
    image = torch.full((3, 16, 16), 0.2) + torch.tensor([0.0, 0.4, 0.0]).view(3, 1, 1)
    small = degraded(image, 2, np.random.default_rng(0), Degradations(first=OFF, second=OFF, final_sinc=0))
    torch.testing.assert_close(small, image[:, ::2, ::2], rtol=0, atol=2 / 255)


def test_the_published_numbers():
    first, second = REAL_ESRGAN.first, REAL_ESRGAN.second
    assert sum((*first.blur.gaussian, *first.blur.generalised, *first.blur.plateau)) == pytest.approx(1)
    assert (first.blur.probability, second.blur.probability, first.blur.sinc, REAL_ESRGAN.final_sinc) == (1, 0.8, 0.1, 0.8)
    assert (first.blur.sigma, second.blur.sigma) == ((0.2, 3.0), (0.2, 1.5))
    assert (first.noise.sigma, first.noise.scale) == ((1, 30), (0.05, 3))
    assert (second.noise.sigma, second.noise.scale) == ((1, 25), (0.05, 2.5))
    assert first.quality == second.quality == (30, 95) and second == SECOND

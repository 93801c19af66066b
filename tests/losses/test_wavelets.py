"""The Haar transform against loops in float64."""

import pytest
import torch

from gcc.losses.wavelets import ALPHA, LEVELS, Wavelets, high_bands
from gcc.recipe import Recipe
from gcc.registry import GeneratorView


def bands_by_loops(image, levels):
    """Return the high-frequency bands of a channel, a list of rows, as one list for each level."""
    found = []
    for _ in range(levels):
        image = [[*row, 0.0] if len(row) % 2 else row for row in image]
        image = [*image, [0.0] * len(image[0])] if len(image) % 2 else image
        quads = [
            [(image[y][x], image[y][x + 1], image[y + 1][x], image[y + 1][x + 1]) for x in range(0, len(image[0]), 2)]
            for y in range(0, len(image), 2)
        ]
        flat = [quad for row in quads for quad in row]
        found.append([sum(s * v for s, v in zip(signs, quad, strict=True)) / 2 for signs in SIGNS for quad in flat])
        image = [[sum(quad) / 2 for quad in row] for row in quads]
    return found


SIGNS = (1, 1, -1, -1), (1, -1, 1, -1), (1, -1, -1, 1)


@pytest.mark.parametrize("size", [(16, 32), (9, 7)])
def test_loss_by_loops(size):
    random = torch.Generator().manual_seed(0)
    student, teacher = (torch.rand(2, 3, *size, generator=random, dtype=torch.float64) * 2 - 1 for _ in range(2))
    levels = [[], [], [], []]
    for s, t in zip(student.flatten(0, 1).tolist(), teacher.flatten(0, 1).tolist(), strict=True):
        for level, of_s, of_t in zip(levels, bands_by_loops(s, LEVELS), bands_by_loops(t, LEVELS), strict=True):
            level += [abs(a - b) for a, b in zip(of_s, of_t, strict=True)]
    expected = sum(sum(level) / len(level) for level in levels)
    views = (GeneratorView({"G": images}, {}, {}) for images in (student, teacher))
    losses = Wavelets(Recipe(size=32)).losses({}, *views, {})
    assert losses["wavelets"].item() == pytest.approx(ALPHA * expected, rel=1e-5)


def test_the_transform_keeps_energy_and_ignores_flat_images():
    images = torch.randn(1, 2, 16, 16, dtype=torch.float64)
    energy = sum(bands.square().sum() for bands in high_bands(images))
    mean = images.sum((2, 3)) / 16
    assert (energy + mean.square().sum()).item() == pytest.approx(images.square().sum().item())
    assert all(not bands.any() for bands in high_bands(torch.ones(1, 1, 16, 16)))

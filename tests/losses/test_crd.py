"""Relations between the parts of an image against loops in float64."""

import math

import pytest
import torch

from gcc.losses.crd import WEIGHT, ContentRelations, columns, patches, relation_loss, rows
from gcc.recipe import Recipe
from gcc.registry import GeneratorView


def relations_by_loops(parts):
    """Return the relative distances of pairs and the cosines of triples of vectors, each a list."""
    n = len(parts)
    offsets = [[[b - a for a, b in zip(one, other, strict=True)] for other in parts] for one in parts]
    lengths = [[math.sqrt(sum(v * v for v in offset)) for offset in row] for row in offsets]
    mean = sum(map(sum, lengths)) / (n * n - n)
    cosines = [
        sum(a * b for a, b in zip(offsets[i][j], offsets[i][k], strict=True)) / (lengths[i][j] * lengths[i][k]) if i not in (j, k) else 0.0
        for i in range(n)
        for j in range(n)
        for k in range(n)
    ]
    return [length / mean for row in lengths for length in row], cosines


def huber(student, teacher):
    differences = [abs(a - b) for a, b in zip(student, teacher, strict=True)]
    return sum(d * d / 2 if d < 1 else d - 0.5 for d in differences) / len(differences)


def parts_by_loops(image, kind):
    """Return the parts of an image, a list of channels of rows, as lists of values."""
    height, width = len(image[0]), len(image[0][0])
    if kind is rows:
        return [[v for channel in image for v in channel[y]] for y in range(height)]
    if kind is columns:
        return [[row[x] for channel in image for row in channel] for x in range(width)]
    size = min(32, height // 2, width // 2)
    return [
        [channel[top + y][left + x] for channel in image for y in range(size) for x in range(size)]
        for top in range(0, height - size + 1, size)
        for left in range(0, width - size + 1, size)
    ]


@pytest.mark.parametrize("kind", [rows, columns, patches])
def test_loss_by_loops(kind):
    random = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(2, 3, 8, 6, generator=random, dtype=torch.float64) for _ in range(2))
    expected = 0.0
    for one, other in zip(student.tolist(), teacher.tolist(), strict=True):
        (d, a), (target_d, target_a) = (relations_by_loops(parts_by_loops(image, kind)) for image in (one, other))
        expected += (huber(d, target_d) + 2 * huber(a, target_a)) / 2
    assert relation_loss(kind(student), kind(teacher)).item() == pytest.approx(expected, rel=1e-9)
    views = (GeneratorView({"G": images}, {}, {}) for images in (student, teacher))
    losses = ContentRelations(Recipe(size=32)).losses({}, *views, {})
    assert losses[f"crd_{kind.__name__}"].item() == pytest.approx(WEIGHT * expected, rel=1e-4)


def test_patches_are_of_32_pixels_where_two_fit():
    assert patches(torch.zeros(2, 3, 96, 70)).shape == (2, 6, 3 * 32 * 32)


@pytest.mark.parametrize("images", [torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 1).expand(1, 3, 8, 8)])
def test_gradients_of_flat_images_are_finite(images):
    student = images.clone().requires_grad_(True)
    total = sum(relation_loss(split(student), split(torch.rand(1, 3, 8, 8))) for split in (rows, columns, patches))
    total.backward()
    assert student.grad.isfinite().all()

"""Relations between the parts of an image against loops in float64."""

import math

import pytest
import torch

from gcc.losses.crd import WEIGHT, ContentRelations, columns, patches, relation_loss, relations, rows
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


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 1).expand(1, 3, 8, 8), 1e-30 * torch.eye(8).expand(1, 3, 8, 8)]
)
def test_gradients_of_flat_images_are_finite(images):
    student = images.clone().requires_grad_(True)
    total = sum(relation_loss(split(student), split(torch.rand(1, 3, 8, 8))) for split in (rows, columns, patches))
    total.backward()
    assert student.grad.isfinite().all()


@pytest.mark.parametrize("kind", [rows, columns, patches])
def test_gradients_by_finite_differences(kind):
    random = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(1, 2, 6, 4, generator=random, dtype=torch.float64) for _ in range(2))
    assert torch.autograd.gradcheck(lambda images: relation_loss(kind(images), kind(teacher)), student.requires_grad_(True))


def test_float32_suffices_for_smooth_images():
    random = torch.Generator().manual_seed(0)
    down, across = torch.linspace(-1, 1, 48, dtype=torch.float64)[:, None], torch.linspace(0, 1, 48, dtype=torch.float64)
    teacher = (0.9 + 0.05 * torch.sin(down + across)).expand(1, 3, 48, 48)
    noisy = teacher + 1e-3 * torch.randn(1, 3, 48, 48, generator=random, dtype=torch.float64)
    results = []
    for dtype in (torch.float64, torch.float32):
        student = noisy.to(dtype).requires_grad_(True)
        loss = relation_loss(rows(student), rows(teacher.to(dtype)))
        results.append((loss.item(), *torch.autograd.grad(loss, student)))
    (loss, gradient), (narrow_loss, narrow_gradient) = results
    assert narrow_loss == pytest.approx(loss, rel=1e-4)
    assert (narrow_gradient - gradient).norm() < 1e-3 * gradient.norm()


def test_equal_parts_have_distance_and_cosine_zero_and_no_gradient_between_them():
    random = torch.Generator().manual_seed(0)
    images = torch.rand(1, 3, 8, 8, generator=random)
    images[:, :, 3] = images[:, :, 5]
    student, teacher = images.clone().requires_grad_(True), torch.rand(1, 3, 8, 8, generator=random)
    distances, cosines = relations(rows(student))
    assert distances[0, 3, 5] == 0 and not cosines[0, 3, 5].any() and not cosines[0, 3, :, 5].any()
    relation_loss(rows(student), rows(teacher)).backward()
    # Without the pair, a gradient is of the order of 1 / distance.
    assert student.grad.abs().max() < 1


def test_no_tensor_of_pairs_has_features():
    height, width = 32, 24
    student, teacher = torch.rand(1, 3, height, width, requires_grad=True), torch.rand(1, 3, height, width)
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = relation_loss(rows(student), rows(teacher))
    triples, pairs, features = 4 * height**3, 8 * height**2, 8 * height * 3 * width
    assert loss.requires_grad and max(saved.values()) <= max(triples, features)
    assert sum(saved.values()) < 3 * triples + 20 * pairs + 2 * features

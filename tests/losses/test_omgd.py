"""The output-level terms of OMGD against loops in float64, on features of a VGG with random weights."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.functional import max_pool2d

from gcc.losses.omgd import OMGD, WEIGHTS, StageFeatures, output_terms
from gcc.models.modules import on_meta
from gcc.models.vgg import DEPTHS, VGGFeatures
from gcc.recipe import Recipe
from gcc.registry import GeneratorView


class Thrice(nn.Module):
    """Features that loops can follow: the image, its square and its half."""

    def forward(self, images):
        return images, images.square(), images / 2, images[..., ::2, ::2]


def flat(images):
    return images.flatten().tolist()


def mean(values):
    values = list(values)
    return sum(values) / len(values)


def ssim_by_loops(fake, real):
    """Return the SSIM of two channels, each a list of rows, at every position; values outside are zero."""
    height, width = len(fake), len(fake[0])
    window = [[math.exp(-((x - 5) ** 2 + (y - 5) ** 2) / (2 * 1.5**2)) for x in range(11)] for y in range(11)]
    total, c1, c2, values = sum(map(sum, window)), 0.01**2, 0.03**2, []
    for top in range(height):
        for left in range(width):
            near = [
                (window[y - top + 5][x - left + 5] / total, fake[y][x], real[y][x])
                for y in range(max(0, top - 5), min(height, top + 6))
                for x in range(max(0, left - 5), min(width, left + 6))
            ]
            a, b = sum(w * f for w, f, _ in near), sum(w * r for w, _, r in near)
            aa, bb, ab = (sum(terms) for terms in zip(*((w * f * f, w * r * r, w * f * r) for w, f, r in near), strict=True))
            values.append((2 * a * b + c1) * (2 * (ab - a * b) + c2) / ((a * a + b * b + c1) * (aa - a * a + bb - b * b + c2)))
    return values


def gram_by_loops(features):
    """Return the inner products of the channels of one sample over c h w, as a flat list."""
    channels = [flat(channel) for channel in features]
    return [sum(a * b for a, b in zip(x, y, strict=True)) / (len(x) * len(channels)) for x in channels for y in channels]


def differences(student, teacher):
    return mean(abs(a - b) for a, b in zip(student, teacher, strict=True))


def test_terms_by_loops():
    random = torch.Generator().manual_seed(0)
    teacher = torch.rand(2, 3, 8, 6, generator=random, dtype=torch.float64) * 2 - 1
    student = (teacher + 0.3 * torch.randn(teacher.shape, generator=random, dtype=torch.float64)).clamp(-1, 1)
    features, targets = Thrice()(student), Thrice()(teacher)
    channels = zip(student.flatten(0, 1).tolist(), teacher.flatten(0, 1).tolist(), strict=True)
    expected = {
        "SSIM": 1 - mean(value for one, other in channels for value in ssim_by_loops(one, other)),
        "style": sum(
            mean(differences(gram_by_loops(one), gram_by_loops(other)) for one, other in zip(of_student, of_teacher, strict=True))
            for of_student, of_teacher in zip(features, targets, strict=True)
        ),
        "feature": differences(flat(features[1]), flat(targets[1])),
        "TV": mean(
            sum(abs(row[x + 1] - row[x]) for channel in image for row in channel for x in range(5))
            + sum(abs(channel[y + 1][x] - channel[y][x]) for channel in image for y in range(7) for x in range(6))
            for image in student.tolist()
        ),
    }
    terms = output_terms(student, teacher, Thrice())
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    views = (GeneratorView({"A2B": images, "B2A": images}, {}, {}) for images in (student, teacher))
    losses = OMGD(Recipe(size=32)).losses({}, *views, {"vgg": Thrice()})
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(
        {f"omgd_{name}": 2 * WEIGHTS[name] * value for name, value in expected.items()}, rel=1e-5
    )


@pytest.mark.parametrize(("name", "last"), [("vgg16", (3, 8, 15, 22)), ("vgg19", (3, 8, 17, 26))])
def test_stages_end_with_the_activations_before_the_pools(name, last):
    vgg = on_meta(lambda: VGGFeatures(DEPTHS[name]))
    assert [stage[-1] for stage in StageFeatures(vgg).stages] == [vgg.features[number] for number in last]


def test_colours_are_not_normalised():
    layers = nn.Sequential(*(layer for _ in range(5) for layer in (nn.ReLU(), nn.MaxPool2d(2))))
    images = torch.rand(1, 3, 16, 16) * 2 - 1
    for depth, features in enumerate(StageFeatures(SimpleNamespace(features=layers))(images)):
        torch.testing.assert_close(features, max_pool2d((images + 1) / 2, 2**depth))

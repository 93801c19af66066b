"""Eq. 9, 10 and I against loops over Python floats."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from gcc.losses.distillation import Projections, content, distillation_loss, gram, modules_at, tapped, texture


def naive_gram(sample):
    channels = [channel.flatten().tolist() for channel in sample.double()]
    return [[sum(a * b for a, b in zip(x, y, strict=True)) / len(x) for y in channels] for x in channels]


def naive_content(student, teacher):
    roots = []
    for s, t in zip(student.double(), teacher.double(), strict=True):
        squares = [(a - b) ** 2 for a, b in zip(s.flatten().tolist(), t.flatten().tolist(), strict=True)]
        roots.append(math.sqrt(sum(squares) / len(squares)))
    return sum(roots) / len(roots)


def naive_texture(student, teacher):
    values = []
    for s, t in zip(student, teacher, strict=True):
        a, b = naive_gram(s), naive_gram(t)
        c = len(a)
        values.append(math.sqrt(sum((a[i][j] - b[i][j]) ** 2 for i in range(c) for j in range(c))) / c**2)
    return sum(values) / len(values)


def pair(seed, n, c, h, w):
    random = torch.Generator().manual_seed(seed)
    # Samples of different scale, so that a root over the whole batch would differ from the mean of roots.
    scale = torch.arange(1, n + 1).view(-1, 1, 1, 1).float() ** 2
    return scale * torch.randn(n, c, h, w, generator=random), torch.randn(n, c, h, w, generator=random) + 0.3


shapes = st.tuples(st.integers(0, 10**6), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))


@settings(max_examples=30, deadline=None)
@given(shapes)
def test_terms_equal_the_loops(shape):
    student, teacher = pair(*shape)
    for got, expected in zip(gram(student), student, strict=True):
        torch.testing.assert_close(got.double(), torch.tensor(naive_gram(expected), dtype=torch.float64), rtol=1e-4, atol=1e-4)
    assert content(student, teacher).item() == pytest.approx(naive_content(student, teacher), rel=1e-4, abs=2e-6)
    assert texture(student, teacher).item() == pytest.approx(naive_texture(student, teacher), rel=1e-3, abs=1e-5)


def test_sum_over_layers_is_weighted():
    layers = {"a": pair(1, 2, 3, 4, 4), "b": pair(2, 2, 5, 2, 3)}
    student, teacher = ({k: v[i] for k, v in layers.items()} for i in (0, 1))
    got = distillation_loss(student, teacher, 7.0, 110.0)
    expected = sum(7.0 * naive_content(s, t) + 110.0 * naive_texture(s, t) for s, t in layers.values())
    assert got.shape == () and got.dtype == torch.float32
    assert got.item() == pytest.approx(expected, rel=1e-5)
    assert distillation_loss(student, teacher, 7.0, 0.0).item() == pytest.approx(7 * sum(naive_content(s, t) for s, t in layers.values()))


def test_layers_that_the_student_lacks_are_left_out():
    student, teacher = pair(1, 1, 2, 2, 2)
    got = distillation_loss({"a": student}, {"a": teacher, "lost": torch.full((1, 4, 2, 2), 1e9)}, 1.0, 1.0)
    assert got.item() == pytest.approx(naive_content(student, teacher) + naive_texture(student, teacher), rel=1e-5)


@pytest.mark.parametrize("fill", [0.0, 1.0, 1e3])
def test_gradients_at_equality_are_finite(fill):
    student = torch.full((2, 3, 4, 4), fill, requires_grad=True)
    loss = distillation_loss({"a": student}, {"a": student.detach().clone()}, 50.0, 1e4)
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=0.02)
    assert student.grad.isfinite().all()
    assert student.grad.abs().max() < 1e-6


def test_gradient_equals_finite_differences_of_the_loops():
    student, teacher = (x[:, :, :2, :2].double() for x in pair(3, 2, 2, 2, 2))
    moving = student.clone().float().requires_grad_(True)
    distillation_loss({"a": moving}, {"a": teacher.float()}, 2.0, 30.0).backward()

    def loss(x):
        return 2.0 * naive_content(x, teacher) + 30.0 * naive_texture(x, teacher)

    h = 1e-5
    for index in range(student.numel()):
        up, down = student.clone(), student.clone()
        up.view(-1)[index] += h
        down.view(-1)[index] -= h
        assert moving.grad.flatten()[index].item() == pytest.approx((loss(up) - loss(down)) / (2 * h), rel=2e-3, abs=1e-4)


def test_teacher_features_get_no_gradient():
    student, teacher = (x.requires_grad_(True) for x in pair(4, 1, 2, 3, 3))
    distillation_loss({"a": student}, {"a": teacher}, 1.0, 1.0).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_features_are_compared_in_float32(dtype):
    # Inner products of 1.6e5 do not fit float16.
    student = torch.full((1, 2, 4, 4), 400.0, dtype=dtype)
    teacher = torch.zeros(1, 2, 4, 4, dtype=dtype)
    with torch.autocast("cpu", torch.bfloat16):
        assert gram(student).dtype == torch.float32
        assert gram(torch.full((1, 1, 1, 1), 1.01)).item() == pytest.approx(1.01**2, rel=1e-6)
        got = distillation_loss({"a": student}, {"a": teacher}, 1.0, 1.0)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(400 + math.sqrt(4 * 160000.0**2) / 4, rel=1e-6)


def test_projections_are_bias_free_1x1_maps_in_the_teachers_order():
    projections = Projections({"b": 2, "a": 3, "only-student": 9}, {"a": 4, "b": 5, "lost": 6})
    assert projections.paths == ("a", "b")
    assert [tuple(p.shape) for p in projections.parameters()] == [(4, 3, 1, 1), (5, 2, 1, 1)]
    features = {"a": torch.randn(2, 3, 2, 2), "b": torch.randn(2, 2, 3, 1), "only-student": torch.randn(2, 9, 1, 1)}
    mapped = projections(features)
    assert list(mapped) == ["a", "b"]
    for path, weight in zip(("a", "b"), projections.parameters(), strict=True):
        given_, got = features[path], mapped[path]
        for n, o, y, x in ((0, 0, 0, 0), (1, 3, got.shape[2] - 1, got.shape[3] - 1)):
            expected = sum(weight[o, i, 0, 0].item() * given_[n, i, y, x].item() for i in range(given_.shape[1]))
            assert got[n, o, y, x].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_fitted_projections_are_the_least_squares_solution_over_all_positions():
    torch.manual_seed(0)
    student, teacher = ({"a": torch.randn(2, channels, 3, 4)} for channels in (3, 4))
    student["a"][:, 1] = 0  # a dead channel: many maps are equally good
    projections = Projections({"a": 3}, {"a": 4})
    projections.fit(student, teacher, lambda moment: moment)
    rows = [[[one["a"][n, :, y, x].tolist()] for n in range(2) for y in range(3) for x in range(4)] for one in (student, teacher)]
    own, wanted = (np.array(one)[:, 0] for one in rows)
    expected, *_ = np.linalg.lstsq(own, wanted, rcond=None)
    np.testing.assert_allclose(projections.maps[0].weight[:, :, 0, 0].detach().numpy(), expected.T, rtol=1e-5, atol=1e-6)


def test_modules_at_leaves_lost_paths_out():
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    assert modules_at(network, ["1", "9", "0"]) == {"1": network[1], "0": network[0]}


def test_tapping_keeps_the_last_pass_and_goes_away():
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU())
    with tapped({"G": modules_at(network, ["1"]), "H": {}}) as features:
        network(torch.randn(1, 1, 2, 2))
        last = network(torch.randn(1, 1, 2, 2))
    assert features["G"]["1"] is last and features["H"] == {}
    network(torch.randn(1, 1, 2, 2))
    assert features["G"]["1"] is last
    with pytest.raises(ZeroDivisionError), tapped({"G": modules_at(network, ["0", "1"])}):
        raise ZeroDivisionError
    assert all(not module._forward_hooks for module in network.modules())

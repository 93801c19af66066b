"""Eq. 1 and 2 against plain sums over Python floats, and the gradient penalty against its closed forms."""

import math

import pytest
import torch
from torch import nn

from gcc.losses.adversarial import GAN_LOSSES, gradient_penalty, total


def hinge_d(u):
    return max(0.0, 1.0 + u)


def cross_entropy(logit, label):
    probability = 1.0 / (1.0 + math.exp(-logit))
    return -math.log(probability if label else 1.0 - probability)


# Written from Eq. 1 and 2: u = -D(x) for real images, u = D(G(z)) for made ones.
NAIVE = {
    "hinge": (lambda d: -d, lambda d: hinge_d(-d), hinge_d),
    "lsgan": (lambda d: (d - 1.0) ** 2, lambda d: (d - 1.0) ** 2, lambda d: (d - 0.0) ** 2),
    "vanilla": (lambda d: cross_entropy(d, 1), lambda d: cross_entropy(d, 1), lambda d: cross_entropy(d, 0)),
    "wgangp": (lambda d: -d, lambda d: -d, lambda d: d),
}
LOGITS = [-3.5, -1.0, -0.75, 0.0, 0.3, 1.0, 1.25, 6.0]


def parts(mode):
    return GAN_LOSSES[mode].generator, GAN_LOSSES[mode].real, GAN_LOSSES[mode].fake


def test_modes_are_those_of_the_method():
    assert set(GAN_LOSSES) == set(NAIVE)
    assert [mode for mode, loss in GAN_LOSSES.items() if loss.penalised] == ["wgangp"]


@pytest.mark.parametrize("mode", NAIVE)
@pytest.mark.parametrize("part", range(3), ids=["generator", "real", "fake"])
def test_loss_is_the_mean_over_every_logit(mode, part):
    logits = torch.tensor(LOGITS).view(2, 1, 2, 2)
    expected = sum(NAIVE[mode][part](d) for d in LOGITS) / len(LOGITS)
    got = parts(mode)[part](logits)
    assert got.shape == ()
    assert got.item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("mode", NAIVE)
@pytest.mark.parametrize("part", range(3), ids=["generator", "real", "fake"])
def test_gradient_is_that_of_the_formula(mode, part):
    # Away from the hinge's kinks, central differences of the naive loss in double precision.
    values = [-3.5, -0.75, 0.3, 1.25]
    logits = torch.tensor(values, requires_grad=True)
    parts(mode)[part](logits).backward()
    f, h = NAIVE[mode][part], 1e-5
    expected = [(f(d + h) - f(d - h)) / (2 * h) / len(values) for d in values]
    assert logits.grad.tolist() == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("mode", NAIVE)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_give_a_float32_loss(mode, dtype):
    # 3000 values whose plain sum, and whose squares, do not fit float16.
    logits = torch.full((3, 1, 10, 100), -300.0, dtype=dtype)
    exact = float(logits.flatten()[0])
    for f, naive in zip(parts(mode), NAIVE[mode], strict=True):
        if mode == "vanilla":
            naive = {NAIVE[mode][0]: lambda d: -d, NAIVE[mode][2]: lambda d: 0.0}.get(naive, lambda d: -d)
        loss = f(logits)
        assert loss.dtype == torch.float32
        assert loss.item() == pytest.approx(naive(exact), rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("mode", NAIVE)
def test_extreme_logits_stay_finite(mode):
    logits = torch.tensor([-1e4, 1e4], requires_grad=True)
    for f in parts(mode):
        (slope,) = torch.autograd.grad(f(logits), logits)
        assert slope.isfinite().all()
        assert f(logits).isfinite()


class Linear(nn.Module):
    def __init__(self, weight):
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, x):
        return (x * self.weight).sum((1, 2, 3)).view(-1, 1, 1, 1)


class Quadratic(nn.Module):
    """D(x) = a |x|^2 / 2, of slope a x; keeps where it was asked."""

    def __init__(self, a):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))
        self.asked = []

    def forward(self, x):
        self.asked.append(x.detach().clone())
        return self.a * (x**2).sum((1, 2, 3)).view(-1, 1, 1, 1) / 2


def test_penalty_of_a_linear_discriminator_and_its_gradient():
    torch.manual_seed(0)
    weight = torch.randn(3, 4, 4)
    discriminator = Linear(weight.clone())
    real, fake = torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4)
    penalty = gradient_penalty(discriminator, real, fake)
    norm = math.sqrt(sum(v * v for v in weight.flatten().tolist()))
    assert penalty.item() == pytest.approx((norm - 1) ** 2, rel=1e-5)
    penalty.backward()
    expected = 2 * (norm - 1) * weight / norm
    torch.testing.assert_close(discriminator.weight.grad, expected, rtol=1e-5, atol=1e-6)


def test_penalty_of_a_quadratic_discriminator():
    torch.manual_seed(1)
    a, real = 0.37, torch.randn(4, 2, 3, 3)
    discriminator = Quadratic(a)
    penalty = gradient_penalty(discriminator, real, real)
    norms = [math.sqrt(sum(v * v for v in sample.flatten().tolist())) for sample in real]
    assert penalty.item() == pytest.approx(sum((a * n - 1) ** 2 for n in norms) / 4, rel=1e-5)
    penalty.backward()
    assert discriminator.a.grad.item() == pytest.approx(sum(2 * (a * n - 1) * n for n in norms) / 4, rel=1e-5)


def test_penalty_is_taken_between_real_and_fake_at_one_share_per_sample():
    torch.manual_seed(2)
    real, fake = torch.randn(16, 2, 3, 3), torch.randn(16, 2, 3, 3)
    discriminator = Quadratic(1.0)
    penalty = gradient_penalty(discriminator, real, fake)
    (asked,) = discriminator.asked
    shares = []
    for x, r, f in zip(asked, real, fake, strict=True):
        found = ((x - f) / (r - f)).flatten()
        share = found.median()
        torch.testing.assert_close(x, f + share * (r - f), rtol=1e-4, atol=1e-4)
        assert 0 <= share <= 1
        shares.append(share.item())
    assert max(shares) - min(shares) > 0.3
    norms = [math.sqrt(sum(v * v for v in sample.flatten().tolist())) for sample in asked]
    assert penalty.item() == pytest.approx(sum((n - 1) ** 2 for n in norms) / 16, rel=1e-5)


def test_penalty_reaches_the_discriminator_alone():
    fake = torch.randn(2, 1, 2, 2, requires_grad=True)
    real = torch.randn(2, 1, 2, 2, requires_grad=True)
    discriminator = Quadratic(0.5)
    gradient_penalty(discriminator, real, fake).backward()
    assert fake.grad is None and discriminator.a.grad is not None


def test_penalty_of_half_images_is_float32_and_leaves_autocast():
    discriminator = nn.Conv2d(1, 1, 2)
    image = torch.randn(2, 1, 4, 4).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        penalty = gradient_penalty(discriminator, image, image)
    assert penalty.dtype == torch.float32


def test_penalty_of_a_constant_discriminator_has_a_finite_gradient():
    discriminator = Linear(torch.zeros(1, 2, 2))
    penalty = gradient_penalty(discriminator, torch.randn(2, 1, 2, 2), torch.randn(2, 1, 2, 2))
    assert penalty.item() == pytest.approx(1.0)
    penalty.backward()
    assert discriminator.weight.grad.isfinite().all()


def test_total_sums_and_keeps_the_graph():
    a, b = torch.tensor(1.5, requires_grad=True), torch.tensor(-4.0, requires_grad=True)
    summed = total(x for x in (a, 2 * b))
    assert summed.item() == -6.5
    summed.backward()
    assert (a.grad.item(), b.grad.item()) == (1.0, 2.0)

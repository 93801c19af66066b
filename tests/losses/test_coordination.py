"""Eq. 5 to 8 and the smoothing of the target, Eq. II and III, against plain Python."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcc.losses.coordination import SmoothedTarget, global_loss, imbalance

finite = st.floats(-100, 100, width=32)


@given(finite, finite)
def test_imbalance_is_the_absolute_difference(loss_g, loss_d_fake):
    got = imbalance(torch.tensor(loss_g), torch.tensor(loss_d_fake)).item()
    assert got == pytest.approx(abs(loss_g - loss_d_fake), rel=1e-6, abs=1e-6)


@given(finite, finite, st.floats(0, 100, width=32))
def test_global_loss_is_the_distance_of_the_imbalance_to_the_target(loss_g, loss_d_fake, target):
    got = global_loss(*map(torch.tensor, (loss_g, loss_d_fake, target))).item()
    assert got == pytest.approx(abs(abs(loss_g - loss_d_fake) - target), rel=1e-5, abs=1e-4)


@pytest.mark.parametrize(("loss_g", "target"), [(-3.0, 0.5), (-3.0, 5.0), (3.0, 0.5), (3.0, 5.0)])
def test_global_loss_slopes(loss_g, target):
    g, f = (torch.tensor(v, requires_grad=True) for v in (loss_g, 0.25))
    global_loss(g, f, torch.tensor(target)).backward()
    sign = 1 if abs(loss_g - 0.25) > target else -1
    inner = 1 if loss_g > 0.25 else -1
    assert (g.grad.item(), f.grad.item()) == (sign * inner, -sign * inner)


@given(st.lists(st.floats(0, 50, width=32), min_size=1, max_size=30), st.integers(1, 7), st.integers(1, 5))
def test_target_follows_the_moving_average(observed, total, per_epoch):
    target, expected = SmoothedTarget(), None
    for step, new in enumerate(observed):
        epoch = min(total, 1 + step // per_epoch)
        beta = epoch / total
        assert 0 <= beta <= 1
        expected = new if expected is None else beta * expected + (1 - beta) * new
        got = target.update(torch.tensor(new), epoch, total)
        assert got.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert got.item() == target.value.item()


@pytest.mark.parametrize(("epoch", "total"), [(1, 1), (1, 10), (7, 10), (10, 10)])
def test_first_observation_is_taken_as_it_is(epoch, total):
    target = SmoothedTarget()
    target.update(torch.tensor(3.7), epoch, total)
    assert target.value.item() == torch.tensor(3.7).item()


def test_first_observation_of_zero_counts_as_one():
    target = SmoothedTarget()
    target.update(torch.tensor(0.0), 5, 10)
    target.update(torch.tensor(1.0), 5, 10)
    assert target.value.item() == pytest.approx(0.5)


def test_target_freezes_in_the_last_epoch_and_moves_before_it():
    target = SmoothedTarget()
    target.update(torch.tensor(2.0), 1, 4)
    target.update(torch.tensor(6.0), 3, 4)
    assert target.value.item() == pytest.approx(0.75 * 2 + 0.25 * 6)
    held = target.value.item()
    target.update(torch.tensor(100.0), 4, 4)
    assert target.value.item() == held


def test_early_epochs_weigh_the_new_value_more_than_late_ones():
    values = []
    for epoch in (1, 5, 9):
        target = SmoothedTarget()
        target.update(torch.tensor(0.0), 1, 10)
        values.append(target.update(torch.tensor(1.0), epoch, 10).item())
    assert values == pytest.approx([0.9, 0.5, 0.1])


def test_target_takes_no_gradient_and_accepts_half():
    target = SmoothedTarget()
    new = torch.tensor(2.0, requires_grad=True)
    assert not target.update(new * 3, 1, 2).requires_grad
    target.update(torch.tensor(1.0, dtype=torch.bfloat16), 1, 2)
    assert target.value.dtype == torch.float32
    assert target.value.item() == pytest.approx(3.5)
    assert not list(target.parameters())


def test_target_state_can_be_saved_and_taken_up():
    first, second = SmoothedTarget(), SmoothedTarget()
    first.update(torch.tensor(8.0), 1, 4)
    second.load_state_dict(first.state_dict())
    second.update(torch.tensor(0.0), 2, 4)
    assert second.value.item() == pytest.approx(4.0)

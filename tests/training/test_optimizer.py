"""The optimizer that only updates its own parameters, against Adam itself."""

import pytest
import torch
from torch import nn

from gcc.training.optimizer import ScopedOptimizer
from gcc.training.precision import ExecutionConfig

CPU = torch.device("cpu")
FLOAT32 = ExecutionConfig(CPU, torch.float32)


def test_mover_is_adam():
    torch.manual_seed(0)
    mine = nn.Parameter(torch.randn(5))
    theirs = nn.Parameter(mine.detach().clone())
    optimizer = ScopedOptimizer([mine], 0.01, (0.3, 0.9), FLOAT32)
    adam = torch.optim.Adam([theirs], lr=0.01, betas=(0.3, 0.9), fused=False, foreach=False)
    for step in range(1, 6):
        optimizer.step(((mine - step) ** 2).sum())
        adam.zero_grad()
        ((theirs - step) ** 2).sum().backward()
        adam.step()
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


def test_mover_forgets_gradients_from_elsewhere():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = ScopedOptimizer([parameter], 0.1, (0.5, 0.999), FLOAT32)
    (parameter * 100).sum().backward()
    optimizer.step((-parameter).sum())
    assert parameter.item() == pytest.approx(0.1, rel=1e-4)


def test_gathered_parts_are_one_loss_and_are_forgotten_with_the_step():
    whole, parts = (nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))
    by_whole, by_parts = (ScopedOptimizer([parameter], 0.1, (0.5, 0.999), FLOAT32) for parameter in (whole, parts))
    for step in range(3):
        by_whole.step(((whole - step) ** 2).sum() + (3 * whole).sum() - whole[0])
        (100 * parts).sum().backward()  # Not gathered.
        by_parts.accumulate((3 * parts).sum())
        by_parts.accumulate(-parts[0])
        by_parts.step(((parts - step) ** 2).sum())
        torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-7)


def test_no_gradient_outlives_a_step():
    parameter = nn.Parameter(torch.zeros(1))
    ScopedOptimizer([parameter], 0.1, (0.5, 0.999), FLOAT32).step(parameter.sum())
    assert parameter.grad is None


def test_rate_is_a_factor_on_the_base_and_does_not_pile_up():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = ScopedOptimizer([parameter], 0.2, (0.5, 0.999), FLOAT32)
    for factor in (0.5, 0.5, 0.1, 1.0):
        optimizer.set_lr_factor(factor)
        assert optimizer.optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * factor)
    optimizer.set_lr_factor(0.5)
    optimizer.step(parameter.sum())
    assert parameter.item() == pytest.approx(-0.1, rel=1e-4)


def test_moving_lets_gradients_in_and_shuts_even_after_an_error():
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = ScopedOptimizer(iter(parameters), 0.1, (0.5, 0.999), FLOAT32)
    optimizer.freeze()
    assert not any(p.requires_grad for p in parameters)
    with optimizer.trainable():
        assert all(p.requires_grad for p in parameters)
    assert not any(p.requires_grad for p in parameters)
    with pytest.raises(ZeroDivisionError), optimizer.trainable():
        raise ZeroDivisionError
    assert not any(p.requires_grad for p in parameters)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["plain", "scaled"])
def test_penalise_sees_and_changes_unscaled_gradients_before_the_step(dtype):
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    seen = []

    def penalise():
        seen.append((parameter.detach().clone(), parameter.grad.clone()))
        parameter.grad.copy_(torch.tensor([-1.0, 1.0]))

    optimizer = ScopedOptimizer([parameter], 0.1, (0.5, 0.999), ExecutionConfig(CPU, dtype), penalise)
    optimizer.step((3 * parameter).sum())
    ((value, slope),) = seen
    assert value.tolist() == [1.0, 2.0] and slope.tolist() == [3.0, 3.0]
    assert parameter.tolist() == pytest.approx([1.1, 1.9], rel=1e-4)
    optimizer.step((3 * parameter).sum())
    assert len(seen) == 2 and seen[1][1].tolist() == [3.0, 3.0]


def test_scaled_steps_without_a_penalty_equal_plain_ones():
    values = []
    for dtype in (torch.float32, torch.float16):
        parameter = nn.Parameter(torch.tensor([1.0, -2.0]))
        optimizer = ScopedOptimizer([parameter], 0.1, (0.5, 0.9), ExecutionConfig(CPU, dtype))
        for step in range(4):
            optimizer.step(((parameter - step) ** 3).sum())
        values.append(parameter.detach().clone())
    torch.testing.assert_close(*values, rtol=1e-5, atol=1e-6)


def test_scaled_step_skips_an_overflow():
    parameter = nn.Parameter(torch.ones(1))
    optimizer = ScopedOptimizer([parameter], 0.1, (0.5, 0.9), ExecutionConfig(CPU, torch.float16))
    optimizer.step((parameter * float("inf")).sum())
    assert parameter.item() == 1.0
    optimizer.step(parameter.sum())
    assert parameter.item() == pytest.approx(0.9, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gradients_are_unscaled_move_nothing_and_do_not_outlive_their_context(dtype):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = ScopedOptimizer([weight], 0.1, (0.5, 0.999), ExecutionConfig(CPU, dtype))
    for _ in range(2):
        with optimizer.gradients((weight**2).sum()):
            assert weight.grad.tolist() == [2.0, 4.0]
        assert weight.grad is None
    assert weight.tolist() == [1.0, 2.0] and not optimizer.optimizer.state
    optimizer.step((weight**2).sum())
    torch.testing.assert_close(weight.detach(), torch.tensor([0.9, 1.9]))

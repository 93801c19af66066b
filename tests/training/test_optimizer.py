"""The optimizer that only updates its own parameters, against Adam itself."""

import math

import pytest
import torch
from torch import nn

from gcc.training.optimizer import ScopedOptimizer
from gcc.training.precision import ExecutionConfig

CPU = torch.device("cpu")
FLOAT32 = ExecutionConfig(CPU, torch.float32)


def test_a_step_is_one_of_adam():
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(5))
    reference = nn.Parameter(parameter.detach().clone())
    optimizer = ScopedOptimizer([parameter], 0.01, (0.3, 0.9), FLOAT32)
    adam = torch.optim.Adam([reference], lr=0.01, betas=(0.3, 0.9), fused=False, foreach=False)
    for step in range(1, 6):
        optimizer.step(((parameter - step) ** 2).sum())
        adam.zero_grad()
        ((reference - step) ** 2).sum().backward()
        adam.step()
        torch.testing.assert_close(parameter, reference, rtol=1e-6, atol=1e-6)


def test_a_step_ignores_gradients_of_other_losses():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = ScopedOptimizer([parameter], 0.1, (0.5, 0.999), FLOAT32)
    (parameter * 100).sum().backward()
    optimizer.step((-parameter).sum())
    assert parameter.item() == pytest.approx(0.1, rel=1e-4)


def test_accumulated_losses_count_as_one_loss_in_one_step_only():
    whole, parts = (nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))
    by_whole, by_parts = (ScopedOptimizer([parameter], 0.1, (0.5, 0.999), FLOAT32) for parameter in (whole, parts))
    for step in range(3):
        by_whole.step(((whole - step) ** 2).sum() + (3 * whole).sum() - whole[0])
        (100 * parts).sum().backward()  # Not accumulated.
        by_parts.accumulate((3 * parts).sum())
        by_parts.accumulate(-parts[0])
        by_parts.step(((parts - step) ** 2).sum())
        torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-7)


def test_no_gradient_outlives_a_step():
    parameter = nn.Parameter(torch.zeros(1))
    ScopedOptimizer([parameter], 0.1, (0.5, 0.999), FLOAT32).step(parameter.sum())
    assert parameter.grad is None


def test_the_factor_applies_to_the_base_rate_and_does_not_compound():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = ScopedOptimizer([parameter], 0.2, (0.5, 0.999), FLOAT32)
    for factor in (0.5, 0.5, 0.1, 1.0):
        optimizer.set_lr_factor(factor)
        assert optimizer.optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * factor)
    optimizer.set_lr_factor(0.5)
    optimizer.step(parameter.sum())
    assert parameter.item() == pytest.approx(-0.1, rel=1e-4)


def test_trainable_ends_in_frozen_parameters_even_after_an_error():
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


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=["unscaled", "scaled"])
def test_penalise_sees_and_changes_unscaled_gradients_before_the_step(dtype):
    parameter = nn.Parameter(torch.tensor([1.0, 2.0]))
    calls = []

    def penalise():
        calls.append((parameter.detach().clone(), parameter.grad.clone()))
        parameter.grad.copy_(torch.tensor([-1.0, 1.0]))

    optimizer = ScopedOptimizer([parameter], 0.1, (0.5, 0.999), ExecutionConfig(CPU, dtype), penalise)
    optimizer.step((3 * parameter).sum())
    ((value, gradient),) = calls
    assert value.tolist() == [1.0, 2.0] and gradient.tolist() == [3.0, 3.0]
    assert parameter.tolist() == pytest.approx([1.1, 1.9], rel=1e-4)
    optimizer.step((3 * parameter).sum())
    assert len(calls) == 2 and calls[1][1].tolist() == [3.0, 3.0]


def test_scaled_steps_equal_unscaled_ones():
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
def test_gradients_are_unscaled_update_nothing_and_do_not_outlive_their_context(dtype):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = ScopedOptimizer([weight], 0.1, (0.5, 0.999), ExecutionConfig(CPU, dtype))
    for _ in range(2):
        with optimizer.gradients((weight**2).sum()):
            assert weight.grad.tolist() == [2.0, 4.0]
        assert weight.grad is None
    assert weight.tolist() == [1.0, 2.0] and not optimizer.optimizer.state
    optimizer.step((weight**2).sum())
    torch.testing.assert_close(weight.detach(), torch.tensor([0.9, 1.9]))


@pytest.mark.parametrize(("before", "after"), [(torch.float32, torch.float16), (torch.float16, torch.float32)], ids=str)
def test_the_state_of_another_precision_is_loaded(before, after):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    saved = ScopedOptimizer([weight], 0.1, (0.5, 0.999), ExecutionConfig(CPU, before))
    saved.step((weight**2).sum())
    loaded = ScopedOptimizer([weight], 0.1, (0.5, 0.999), ExecutionConfig(CPU, after))
    scale = loaded.scaler.get_scale()
    loaded.load_state_dict(saved.state_dict())
    assert loaded.scaler.get_scale() == scale
    assert torch.equal(loaded.optimizer.state[weight]["exp_avg"], saved.optimizer.state[weight]["exp_avg"])
    loaded.step((weight**2).sum())
    assert weight.tolist() == pytest.approx([0.8, 1.8], rel=1e-2)


def test_a_gradient_that_overflowed_by_its_scale_is_not_usable_and_the_scale_falls():
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = ScopedOptimizer([weight], 0.1, (0.5, 0.999), ExecutionConfig(CPU, torch.float16))
    # In float16, 64 * 1024 overflows.
    usable = []
    for _ in range(3):
        with optimizer.gradients((weight.half() * 64).sum().float()) as is_usable:
            usable.append((is_usable, weight.grad.tolist()))
    assert usable == [(False, [math.inf] * 2), (True, [64.0] * 2), (True, [64.0] * 2)]
    with optimizer.gradients((weight * math.nan).sum()) as is_usable:
        assert not is_usable

"""Execution, the optimisers, the device, random seeds and the gathering of losses."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from gcc.artifacts.metrics_log import Window, append_line
from gcc.errors import GccError, OutputError
from gcc.training.optimizer import ScopedOptimizer
from gcc.training.precision import ExecutionConfig
from gcc.utils.backend import float32_precision, tf32_precision
from gcc.utils.device import choose_device, peak_memory
from gcc.utils.seeds import derive_seed, seeded

CPU = torch.device("cpu")
OFF = ExecutionConfig(CPU, torch.float32)


@pytest.mark.parametrize(("amp", "dtype"), [("auto", torch.float32), ("off", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_on_the_cpu(amp, dtype):
    execution = ExecutionConfig.choose(amp, CPU)
    layout = torch.contiguous_format if dtype == torch.float32 else torch.channels_last
    assert execution == ExecutionConfig(CPU, dtype, layout, skip_closed_channels=True)
    assert ExecutionConfig.choose(amp, CPU, channels_last=True).layout == torch.channels_last


def test_networks_take_on_the_layout():
    convolution = ExecutionConfig(CPU, layout=torch.channels_last).to_device(nn.Sequential(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)))
    assert convolution[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert convolution(torch.randn(2, 8, 9, 9)).is_contiguous(memory_format=torch.channels_last)


def test_instance_norm_keeps_the_layout_in_which_it_is_fast():
    network = ExecutionConfig(CPU, layout=torch.channels_last).to_device(nn.Sequential(nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8)))
    assert network[0].weight.is_contiguous() and not network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_a_gpus_float32_is_exact_or_fast(monkeypatch):
    def precision():
        # Of matrix products as cuBLAS is told it, and of convolutions.
        return torch.backends.cuda.matmul.fp32_precision, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark

    with tf32_precision():
        assert precision() == ("tf32", True, True)
    with float32_precision():
        assert precision() == ("ieee", False, False)


def test_a_gpu_is_not_waited_for_to_learn_which_channels_are_open(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    execution = ExecutionConfig.choose("auto", torch.device("cuda"))
    assert execution.layout == torch.channels_last and not execution.skip_closed_channels


def test_float16_is_refused_on_the_cpu():
    with pytest.raises(GccError, match="fp16"):
        ExecutionConfig.choose("fp16", CPU)


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_takes_bf16_where_it_is_native(monkeypatch, has_bf16, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16 or including_emulation)
    assert ExecutionConfig.choose("auto", torch.device("cuda")).dtype == dtype


def test_autocast_holds_in_its_context_alone():
    linear, x = nn.Linear(2, 2), torch.randn(1, 2)
    with ExecutionConfig(CPU, torch.bfloat16).autocast():
        assert linear(x).dtype == torch.bfloat16
    assert linear(x).dtype == torch.float32
    with OFF.autocast():
        assert linear(x).dtype == torch.float32


def test_scaler_scales_for_float16_alone():
    assert not OFF.scaler().is_enabled() and not ExecutionConfig(CPU, torch.bfloat16).scaler().is_enabled()
    assert ExecutionConfig(CPU, torch.float16).scaler().is_enabled()


def test_mover_is_adam():
    torch.manual_seed(0)
    mine = nn.Parameter(torch.randn(5))
    theirs = nn.Parameter(mine.detach().clone())
    optimizer = ScopedOptimizer([mine], 0.01, (0.3, 0.9), OFF)
    adam = torch.optim.Adam([theirs], lr=0.01, betas=(0.3, 0.9), fused=False, foreach=False)
    for step in range(1, 6):
        optimizer.step(((mine - step) ** 2).sum())
        adam.zero_grad()
        ((theirs - step) ** 2).sum().backward()
        adam.step()
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)


def test_mover_forgets_gradients_from_elsewhere():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = ScopedOptimizer([parameter], 0.1, (0.5, 0.999), OFF)
    (parameter * 100).sum().backward()
    optimizer.step((-parameter).sum())
    assert parameter.item() == pytest.approx(0.1, rel=1e-4)


def test_gathered_parts_are_one_loss_and_are_forgotten_with_the_step():
    whole, parts = (nn.Parameter(torch.tensor([1.0, 2.0])) for _ in range(2))
    by_whole, by_parts = (ScopedOptimizer([parameter], 0.1, (0.5, 0.999), OFF) for parameter in (whole, parts))
    for step in range(3):
        by_whole.step(((whole - step) ** 2).sum() + (3 * whole).sum() - whole[0])
        (100 * parts).sum().backward()  # Not gathered.
        by_parts.accumulate((3 * parts).sum())
        by_parts.accumulate(-parts[0])
        by_parts.step(((parts - step) ** 2).sum())
        torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-7)


def test_no_gradient_outlives_a_step():
    parameter = nn.Parameter(torch.zeros(1))
    ScopedOptimizer([parameter], 0.1, (0.5, 0.999), OFF).step(parameter.sum())
    assert parameter.grad is None


def test_rate_is_a_factor_on_the_base_and_does_not_pile_up():
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = ScopedOptimizer([parameter], 0.2, (0.5, 0.999), OFF)
    for factor in (0.5, 0.5, 0.1, 1.0):
        optimizer.set_lr_factor(factor)
        assert optimizer.optimizer.param_groups[0]["lr"] == pytest.approx(0.2 * factor)
    optimizer.set_lr_factor(0.5)
    optimizer.step(parameter.sum())
    assert parameter.item() == pytest.approx(-0.1, rel=1e-4)


def test_moving_lets_gradients_in_and_shuts_even_after_an_error():
    parameters = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = ScopedOptimizer(iter(parameters), 0.1, (0.5, 0.999), OFF)
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


def test_peak_memory_is_what_the_kernel_says():
    lines = Path("/proc/self/status").read_text().splitlines()
    (kilobytes,) = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    assert float(peak_memory(CPU).removesuffix(" GB")) == pytest.approx(kilobytes * 1024 / 1e9, abs=0.02)


def test_choose_device():
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type in ("cpu", "cuda")
    for name in ("gpu", "cuda:99", "", "cpu:x"):
        with pytest.raises(GccError) as caught:
            choose_device(name)
        assert repr(name) in str(caught.value) and "\n" not in str(caught.value)


def test_derived_seeds_differ_by_seed_and_use_and_never_change():
    uses = [derive_seed(seed, use) for seed in range(50) for use in ("teacher G", "teacher D", "student G", "student D", "projections")]
    assert len(set(uses)) == len(uses)
    assert all(0 <= value < 2**63 for value in uses)
    # A saved run must come out the same in a later version.
    assert derive_seed(0, "teacher") == 6516564265846340120
    assert derive_seed(1, "2 x") != derive_seed(12, "x") and derive_seed(1, " a") != derive_seed(1, "a")


def test_seeded_restores_the_global_state_even_after_an_error():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    with seeded(0, "use"):
        first = torch.rand(4)
    assert torch.equal(torch.get_rng_state(), state)
    with seeded(0, "use"):
        assert torch.equal(torch.rand(4), first)
    with seeded(0, "other"):
        assert not torch.equal(torch.rand(4), first)
    with seeded(1, "use"):
        assert not torch.equal(torch.rand(4), first)
    with pytest.raises(ZeroDivisionError), seeded(0, "use"):
        torch.rand(1)
        raise ZeroDivisionError
    assert torch.equal(torch.get_rng_state(), state)


def test_seeded_does_not_depend_on_what_was_drawn_before():
    draws = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        with seeded(7, "student G"):
            draws.append(torch.randn(3))
    assert torch.equal(*draws)


def test_seeded_leaves_the_random_state_of_other_devices_alone(monkeypatch):
    touched = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched.append)
    with seeded(0, "use"):
        pass
    assert touched == [], "the seed of every GPU was set, and nothing sets it back"


def test_window_means():
    window = Window()
    assert window.means() == {}
    for a, b in ((1.0, 10.0), (2.0, 20.0), (6.0, 60.0)):
        window.add({"a": torch.tensor(a), "b": torch.tensor(b, dtype=torch.bfloat16)})
    window.add({"c": torch.tensor(-7.0)})
    assert window.means() == {"a": 3.0, "b": 30.0, "c": -7.0}
    assert window.means() == {}
    window.add({"a": torch.tensor(4.0)})
    assert window.means() == {"a": 4.0}


def test_append_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, {"epoch": 1, "a": 0.5})
    append_line(path, {"epoch": 2})
    assert [json.loads(line) for line in path.read_text().splitlines()] == [{"epoch": 1, "a": 0.5}, {"epoch": 2}]
    with pytest.raises(OutputError):
        append_line(tmp_path / "missing" / "metrics.jsonl", {})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_gradients_are_unscaled_move_nothing_and_do_not_outlive_their_context(dtype):
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    optimizer = ScopedOptimizer([weight], 0.1, (0.5, 0.999), ExecutionConfig(torch.device("cpu"), dtype))
    for _ in range(2):
        with optimizer.gradients((weight**2).sum()):
            assert weight.grad.tolist() == [2.0, 4.0]
        assert weight.grad is None
    assert weight.tolist() == [1.0, 2.0] and not optimizer.optimizer.state
    optimizer.step((weight**2).sum())
    torch.testing.assert_close(weight.detach(), torch.tensor([0.9, 1.9]))

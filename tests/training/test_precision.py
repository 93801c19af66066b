"""How networks run: precision, memory layout and gradient scaling."""

import pytest
import torch
from torch import nn

from gcc.errors import GccError
from gcc.training.config import RunConfig
from gcc.training.precision import ExecutionConfig
from gcc.training.step_runner import EagerStep
from gcc.utils.distributed import SINGLE_PROCESS, Ranks

CPU = torch.device("cpu")
FLOAT32 = ExecutionConfig(CPU, torch.float32)


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


def test_networks_with_instance_norm_keep_the_layout_in_which_they_are_fast():
    network = ExecutionConfig(CPU, layout=torch.channels_last).to_device(nn.Sequential(nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8)))
    assert network[0].weight.is_contiguous() and not network[0].weight.is_contiguous(memory_format=torch.channels_last)


def test_closed_channels_are_not_skipped_on_a_gpu_which_would_have_to_synchronise(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    execution = ExecutionConfig.choose("auto", torch.device("cuda"))
    assert execution.layout == torch.channels_last and not execution.skip_closed_channels


def test_float16_is_refused_on_the_cpu():
    with pytest.raises(GccError, match="fp16"):
        ExecutionConfig.choose("fp16", CPU)


@pytest.mark.parametrize(("has_bf16", "dtype"), [(True, torch.bfloat16), (False, torch.float16)])
def test_auto_on_a_gpu_takes_bf16_if_it_is_native(monkeypatch, has_bf16, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: has_bf16 or including_emulation)
    assert ExecutionConfig.choose("auto", torch.device("cuda")).dtype == dtype


def test_autocast_holds_only_in_its_context():
    linear, inputs = nn.Linear(2, 2), torch.randn(1, 2)
    with ExecutionConfig(CPU, torch.bfloat16).autocast():
        assert linear(inputs).dtype == torch.bfloat16
    assert linear(inputs).dtype == torch.float32
    with FLOAT32.autocast():
        assert linear(inputs).dtype == torch.float32


def test_the_scaler_is_enabled_only_for_float16():
    assert not FLOAT32.scaler().is_enabled() and not ExecutionConfig(CPU, torch.bfloat16).scaler().is_enabled()
    assert ExecutionConfig(CPU, torch.float16).scaler().is_enabled()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, True),
        ({"compile": True}, False),
        ({"eager": True}, False),
        ({"reference": True}, False),
        ({"micro_batch": 2}, False),
        ({"detect_anomaly": True}, False),
    ],
)
def test_cuda_graphs_are_the_default_on_a_gpu(monkeypatch, options, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    config, gpu = RunConfig(**options), torch.device("cuda")
    assert ExecutionConfig.of(config, gpu, SINGLE_PROCESS, channels_last=False).cuda_graphs == expected
    assert not ExecutionConfig.of(config, CPU, SINGLE_PROCESS, channels_last=False).cuda_graphs


def test_several_processes_run_operator_by_operator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    execution = ExecutionConfig.of(RunConfig(), torch.device("cuda"), Ranks(0, 2), channels_last=False)
    assert not execution.cuda_graphs and isinstance(execution.runner(dict), EagerStep)


def test_an_architecture_may_exclude_cuda_graphs(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    options = {"channels_last": False, "supports_cuda_graphs": False}
    assert not ExecutionConfig.of(RunConfig(), torch.device("cuda"), SINGLE_PROCESS, **options).cuda_graphs

"""How the loop runs a training step. The graphs themselves need a GPU: GCC_TEST_CUDA=1, and `benchmarks/gpu.py`."""

import os
import warnings

import pytest
import torch

from gcc.errors import TrainingError
from gcc.training import step_runner
from gcc.training.step_runner import WORTH_CAPTURING, EagerStep, GraphedStep


class Step:
    """A step that counts how often Python runs it."""

    def __init__(self, message=""):
        self.calls = 0
        self.message = message

    def __call__(self, batch):
        self.calls += 1
        if self.message:
            warnings.warn(self.message, stacklevel=1)
        return {"student": {"G": 2 * batch["x"].sum()}}


class Replayed:
    """Stands in for a capture, which needs a GPU."""

    captured = 0

    @classmethod
    def of(cls, step, batches):
        cls.captured += 1
        return cls()

    def replay(self, batches):
        return {"student": {"G": 2 * batches[0]["x"].sum()}}


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 0)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    monkeypatch.setattr(step_runner, "_Captured", Replayed)
    Replayed.captured = 0


def train(runner, steps):
    return [float(runner({"x": torch.tensor([float(number)])})["student"]["G"]) for number in range(steps)]


def test_an_eager_step_runs_in_python_every_time():
    step = Step()
    runner = EagerStep(step)
    runner.begin_epoch(100)
    assert train(runner, 3) == [0, 2, 4] and step.calls == 3


def test_a_graphed_step_runs_in_python_once_an_epoch_and_in_the_stages_second_step(no_gpu):
    step = Step()
    runner = GraphedStep(step)
    runner.begin_epoch(10)
    assert train(runner, 10) == [2 * number for number in range(10)]
    assert (step.calls, Replayed.captured) == (2, 1)
    runner.begin_epoch(10)
    assert train(runner, 10) == [2 * number for number in range(10)]
    assert (step.calls, Replayed.captured) == (3, 2)


def test_a_short_epoch_is_not_captured(no_gpu):
    step = Step()
    runner = GraphedStep(step)
    for _ in range(3):
        runner.begin_epoch(WORTH_CAPTURING - 1)
        train(runner, WORTH_CAPTURING - 1)
    assert (step.calls, Replayed.captured) == (3 * (WORTH_CAPTURING - 1), 0)


def test_a_step_that_waits_for_the_gpu_stays_eager_with_one_warning(no_gpu):
    step = Step("called a synchronizing CUDA operation (Triggered internally)")
    runner = GraphedStep(step)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            runner.begin_epoch(10)
            train(runner, 10)
    told = [str(warning.message) for warning in caught if "not replayed as a CUDA graph" in str(warning.message)]
    assert (step.calls, Replayed.captured, len(told)) == (20, 0, 1)
    assert "test_step_runner.py:" in told[0]


@pytest.mark.skipif(not (os.environ.get("GCC_TEST_CUDA") and torch.cuda.is_available()), reason="needs a GPU")
def test_a_graph_trains_as_the_operators_do():
    results = []
    for kind in (EagerStep, GraphedStep):
        torch.manual_seed(0)
        layer = torch.nn.Linear(3, 1).cuda()

        def step(batch, layer=layer):
            loss = layer(batch["x"]).square().mean()
            (gradient,) = torch.autograd.grad(loss, [layer.weight])
            with torch.no_grad():
                layer.weight -= 0.1 * gradient
            return {"student": {"G": loss.detach()}}

        runner = kind(step)
        runner.begin_epoch(20)
        losses = [float(runner({"x": torch.full((2, 3), number / 20, device="cuda")})["student"]["G"]) for number in range(20)]
        results.append((losses, layer.weight.tolist()))
    assert results[0] == results[1]


@pytest.mark.skipif(not (os.environ.get("GCC_TEST_CUDA") and torch.cuda.is_available()), reason="needs a GPU")
def test_a_step_that_cannot_be_captured_names_the_option():
    with pytest.raises(TrainingError, match="run it with --eager"):
        step_runner._Captured.of(lambda batch: {"G": batch["x"].sum().cpu()}, [{"x": torch.ones(2, device="cuda")}])

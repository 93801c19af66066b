"""How the loop runs a training step. The graphs themselves need a GPU: GCC_TEST_CUDA=1, and `benchmarks/gpu.py`."""

import os
import warnings
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from gcc.errors import CaptureError
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
    messages = [str(warning.message) for warning in caught if "not replayed as a CUDA graph" in str(warning.message)]
    assert (step.calls, Replayed.captured, len(messages)) == (20, 0, 1)
    assert "test_step_runner.py:" in messages[0]


def test_other_warnings_of_a_step_are_shown(no_gpu):
    runner = GraphedStep(Step("something else"))
    runner.begin_epoch(10)
    with pytest.warns(UserWarning, match="something else") as caught:
        train(runner, 2)
    assert len(caught) == 2


class Stream:
    device = torch.device("cuda", 1)


@pytest.fixture
def fake_graphs(monkeypatch):
    """Let a capture compute on the CPU; return the devices of the captures' streams, and the streams that were set."""
    devices, streams = [], []

    @contextmanager
    def capture(graph, stream, capture_error_mode):
        assert capture_error_mode == "thread_local"
        try:
            yield
        except ValueError as error:
            raise RuntimeError("the capture failed due to a previous error") from error

    monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: SimpleNamespace(replay=lambda: None))
    monkeypatch.setattr(torch.cuda, "current_stream", Stream)
    monkeypatch.setattr(torch.cuda, "Stream", devices.append)
    monkeypatch.setattr(torch.cuda, "set_stream", streams.append)
    monkeypatch.setattr(torch.cuda, "graph", capture)
    return devices, streams


def test_a_replay_reads_the_new_batch_and_its_losses_are_copies(fake_graphs):
    def step(first, second):
        return {"student": {"G": first["x"].sum(), "imbalance": {"D": second["x"].sum()}}}

    batches = [[{"x": torch.full((2,), float(number))}, {"x": torch.full((3,), 10.0 * number)}] for number in (1, 2)]
    captured = step_runner._Captured.of(step, batches[0])
    captured.graph.replay = lambda: captured.losses.copy_(torch.stack([inputs["x"].sum() for inputs in captured.inputs]))
    first, second = (captured.replay(batch) for batch in batches)
    assert first == {"student": {"G": 2, "imbalance": {"D": 30}}} and second == {"student": {"G": 4, "imbalance": {"D": 60}}}
    assert batches[0][0]["x"].tolist() == [1, 1]
    assert fake_graphs == ([torch.device("cuda", 1)], [])


def test_a_capture_that_fails_names_the_first_cause_and_restores_the_stream(fake_graphs):
    def step(batch):
        raise ValueError("operation not permitted when stream is capturing")

    with pytest.raises(CaptureError, match=r"\(operation not permitted when stream is capturing\): run it with `eager=True`"):
        step_runner._Captured.of(step, [{"x": torch.zeros(1)}])
    ((stream,),) = fake_graphs[1:]
    assert isinstance(stream, Stream)


@pytest.mark.skipif(
    not (os.environ.get("GCC_TEST_CUDA") and torch.cuda.is_available()),
    reason="only a GPU captures CUDA graphs; the other tests use a fake one",
)
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


@pytest.mark.skipif(
    not (os.environ.get("GCC_TEST_CUDA") and torch.cuda.is_available()),
    reason="only a GPU captures CUDA graphs; the other tests use a fake one",
)
def test_a_step_that_cannot_be_captured_names_the_option():
    with pytest.raises(CaptureError, match="run it with `eager=True`"):
        step_runner._Captured.of(lambda batch: {"G": batch["x"].sum().cpu()}, [{"x": torch.ones(2, device="cuda")}])

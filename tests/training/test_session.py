"""What a run leaves behind when it goes wrong."""

import io
import json

import pytest
import torch
from rich.console import Console

from gcc import Compressor, GccError, Teacher, Trainer, load
from gcc.artifacts.model import read
from gcc.errors import DataError, TrainingError
from gcc.evaluation.split import SplitEvaluation
from gcc.training.best import snapshots
from gcc.training.collapse import CollapsePolicy
from gcc.training.session import Session
from tests.helpers.families import TINY

pytestmark = pytest.mark.usefixtures("small_worlds")
SETTINGS = TINY["pix2pix"] | {"epochs": 4, "evaluate_every": 1}


def poison(run):
    with torch.no_grad():
        next(run.student.generators["G"].parameters()).fill_(float("nan"))


def breaking(run, monkeypatch, epoch, harm=poison):
    """Let harm be done to a run after an epoch; return the student's states after every epoch."""
    steps, states = run.steps, {}

    def harmed():
        for step in steps():
            yield step
            if step.phase == "train" and step.ends_epoch:
                states[step.epoch] = snapshots(run.student.generators)["G"]
                if step.epoch == epoch:
                    harm(run)

    monkeypatch.setattr(run, "steps", harmed)
    return states


def fails(run, out, error):
    out.mkdir()
    told = io.StringIO()
    with pytest.raises(error):
        Session(run, out).train(Console(file=told, width=300))
    return told.getvalue()


def test_the_best_epoch_survives_a_run_that_diverges(tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    states = breaking(run, monkeypatch, epoch=3)
    told = fails(run, tmp_path / "run", TrainingError)
    best = run.best.best["student"].epoch
    assert f"the student of epoch {best}, without test metrics, is saved in" in told
    saved = load(tmp_path / "run" / "student").state_dict()
    assert all(torch.equal(saved[key], value) for key, value in states[best].items())
    figures = read(tmp_path / "run" / "student")["G"].measurements["student"]
    assert figures["epoch"] == best and figures["metrics"] == {}
    assert (tmp_path / "run" / "report.html").exists()


def test_nothing_is_saved_of_a_run_that_diverges_without_a_best_epoch(tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS | {"evaluators": ""})
    breaking(run, monkeypatch, epoch=2)
    assert "is saved" not in fails(run, tmp_path / "run", TrainingError)
    assert not (tmp_path / "run" / "student").exists() and (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("error", [DataError("a broken image"), RuntimeError("out of memory")])
def test_what_was_trained_survives_a_failing_evaluation(error, tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    figures = SplitEvaluation.evaluate

    def failing(self, generators):
        if self is run.context.test:
            raise error
        return figures(self, generators)

    monkeypatch.setattr(SplitEvaluation, "evaluate", failing)
    fails(run, tmp_path / "run", type(error))
    assert load(tmp_path / "run" / "student")(torch.zeros(1, 3, 32, 32)).isfinite().all()


def test_a_run_that_breaks_off_early_leaves_its_present_state(tmp_path, monkeypatch):
    def harm(run):
        raise DataError("a broken image")

    run = Compressor(Teacher.create("pix2pix"), **SETTINGS | {"evaluators": ""})
    states = breaking(run, monkeypatch, epoch=2, harm=harm)
    assert "the student of epoch 2" in fails(run, tmp_path / "run", DataError)
    saved = load(tmp_path / "run" / "student").state_dict()
    assert all(torch.equal(saved[key], value) for key, value in states[2].items())


def test_a_warning_whose_report_cannot_be_made_stops_nothing(tmp_path, monkeypatch):
    def refused(runs, out=None):
        raise GccError("a foreign page is in the way")

    monkeypatch.setattr("gcc.training.progress.save_report", refused)
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    monkeypatch.setattr(CollapsePolicy, "after_epoch", lambda *_: {"student": "looks odd"})
    told = io.StringIO()
    assert Session(run, tmp_path).train(Console(file=told, width=300)).student
    assert "looks odd; see metrics.jsonl, since the report could not be written: a foreign page is in the way" in told.getvalue()


def test_a_teacher_that_rests_was_trained_for_no_epoch(tmp_path):
    Trainer(Teacher.create("pix2pix"), **SETTINGS).run().save(tmp_path)
    run = Compressor(Teacher.load(tmp_path / "teacher"), **SETTINGS | {"train_teacher": False})
    result = run.run()
    assert result.measurements()["G"]["teacher"]["epoch"] == 0 and result.measurements()["G"]["student"]["epoch"] > 0


def test_metrics_keep_the_figures_of_an_epoch_that_is_warned_of(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "gcc.training.progress.save_report", lambda runs, out=None: seen.append((tmp_path / "metrics.jsonl").read_text()) or "page"
    )
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS | {"epochs": 1})
    monkeypatch.setattr(CollapsePolicy, "after_epoch", lambda *_: {"student": "looks odd"})
    Session(run, tmp_path).train(Console(file=io.StringIO()))
    assert any("val/student/G/psnr" in json.loads(line) for line in seen[0].splitlines())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "batches of 20 at 32 pixels do not fit into memory: give a --micro-batch, or start anew"),
        (torch.OutOfMemoryError("CUDA out of memory"), "do not fit into memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "do not fit into memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "a process that reads images was killed"),
        (torch._dynamo.exc.TorchDynamoException("no C++ compiler\nmuch more"), "--compile: no C\\+\\+ compiler: leave it out"),
        (RuntimeError("a defect"), "a defect"),
    ],
    ids=["memory", "cuda", "allocator", "reader", "compiler", "other"],
)
def test_what_is_the_machines_fault_is_told_in_words(error, told, tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)

    def fail(*arguments):
        raise error

    monkeypatch.setattr(run, "cooperate", fail)
    tmp_path.joinpath("run").mkdir()
    with pytest.raises(RuntimeError if told == "a defect" else GccError, match=told):
        Session(run, tmp_path / "run").train(Console(file=io.StringIO(), width=300))
    assert list((tmp_path / "run" / "checkpoints").iterdir())

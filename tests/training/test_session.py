"""What a run saves when it fails."""

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
from gcc.training.checkpoint import Checkpoints
from gcc.training.collapse import CollapsePolicy
from gcc.training.context import Stream
from gcc.training.progress import ProgressLog
from gcc.training.session import Session
from tests.helpers.families import TINY

SETTINGS = TINY["pix2pix"] | {"epochs": 4, "evaluate_every": 1}


def set_nan(run):
    with torch.no_grad():
        next(run.student.generators["G"].parameters()).fill_(float("nan"))


def acting_after(run, monkeypatch, epoch, action=set_nan):
    """Let `action` change a run after an epoch; return the student's states after every epoch."""
    steps, states = run.steps, {}

    def changed():
        for step in steps():
            yield step
            if step.phase == "train" and step.ends_epoch:
                states[step.epoch] = snapshots(run.student.generators)["G"]
                if step.epoch == epoch:
                    action(run)

    monkeypatch.setattr(run, "steps", changed)
    return states


def console_of_failed_run(run, out, error):
    """Train until `error`, and return the console's text."""
    out.mkdir()
    console = io.StringIO()
    with pytest.raises(error):
        Session(run, out).train(Console(file=console, width=300))
    return console.getvalue()


def test_the_best_epoch_survives_a_run_that_diverges(tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    states = acting_after(run, monkeypatch, epoch=3)
    text = console_of_failed_run(run, tmp_path / "run", TrainingError)
    best = run.best.best["student"].epoch
    assert f"the student of epoch {best}, without test metrics, is saved in" in text
    saved = load(tmp_path / "run" / "student").state_dict()
    assert all(torch.equal(saved[key], value) for key, value in states[best].items())
    measurements = read(tmp_path / "run" / "student")["G"].measurements["student"]
    assert measurements["epoch"] == best and measurements["metrics"] == {}
    assert (tmp_path / "run" / "report.html").exists()


def test_a_run_that_diverges_without_a_best_epoch_saves_nothing(tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS | {"evaluators": ""})
    acting_after(run, monkeypatch, epoch=2)
    assert "is saved" not in console_of_failed_run(run, tmp_path / "run", TrainingError)
    assert not (tmp_path / "run" / "student").exists() and (tmp_path / "run" / "report.html").exists()


@pytest.mark.parametrize("error", [DataError("a broken image"), RuntimeError("out of memory")])
def test_the_trained_networks_survive_a_failing_evaluation(error, tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    evaluate = SplitEvaluation.evaluate

    def failing(self, generators):
        if self is run.context.test:
            raise error
        return evaluate(self, generators)

    monkeypatch.setattr(SplitEvaluation, "evaluate", failing)
    console_of_failed_run(run, tmp_path / "run", type(error))
    assert load(tmp_path / "run" / "student")(torch.zeros(1, 3, 32, 32)).isfinite().all()


def test_a_run_that_fails_early_saves_its_current_state(tmp_path, monkeypatch):
    def fail(run):
        raise DataError("a broken image")

    run = Compressor(Teacher.create("pix2pix"), **SETTINGS | {"evaluators": ""})
    states = acting_after(run, monkeypatch, epoch=2, action=fail)
    assert "the student of epoch 2" in console_of_failed_run(run, tmp_path / "run", DataError)
    saved = load(tmp_path / "run" / "student").state_dict()
    assert all(torch.equal(saved[key], value) for key, value in states[2].items())


@pytest.mark.slow
@pytest.mark.parametrize(("owner", "reads"), [(SplitEvaluation, "evaluate"), (CollapsePolicy, "_diversity")])
def test_a_run_that_misses_an_image_at_the_end_of_an_epoch_is_resumed_bit_equal(owner, reads, tmp_path, monkeypatch):
    def new_run():
        return Compressor(Teacher.create("pix2pix"), **SETTINGS)

    def failing(self, *arguments):
        if run.epoch == 2 and "student" in run.pairs:
            raise DataError("a missing image")
        return intact(self, *arguments)

    whole, run, intact = new_run(), new_run(), getattr(owner, reads)
    whole.run()
    with monkeypatch.context() as patch:
        patch.setattr(owner, reads, failing)
        console_of_failed_run(run, tmp_path / "run", DataError)
    resumed = new_run()
    with Session(resumed, tmp_path / "run") as session:
        assert session.resume()
        session.prepare()
        session.train(Console(file=io.StringIO()))
    for role, pair in whole.pairs.items():
        for kind, networks in pair.networks.items():
            trained = snapshots(resumed.pairs[role].networks[kind])
            for name, expected in snapshots(networks).items():
                assert all(torch.equal(trained[name][key], value) for key, value in expected.items())


def test_a_run_that_misses_a_training_image_is_saved_at_its_last_step(tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    batches = run.context.batches

    def failing(stream, epoch, start=0):
        for number, batch in enumerate(batches(stream, epoch, start)):
            if stream == Stream.ALPHA and (epoch, number) == (2, 1):
                raise DataError("a missing image")
            yield batch

    monkeypatch.setattr(run.context, "batches", failing)
    console_of_failed_run(run, tmp_path / "run", DataError)
    checkpoint = Checkpoints(tmp_path / "run").newest()
    assert (checkpoint["phase"], checkpoint["epoch"], checkpoint["done"]) == ("train", 2, 1)


@pytest.mark.parametrize("name", ["partial_result", "save_report"])
@pytest.mark.parametrize(
    "error", [OSError(28, "a full disk"), KeyError("a key"), ValueError("a defect"), GccError("a folder\nin the way")], ids=repr
)
def test_what_a_failed_run_cannot_save_does_not_hide_why_it_failed(name, error, tmp_path, monkeypatch):
    def fail(*arguments):
        raise error

    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    monkeypatch.setattr(f"gcc.training.session.{name}", fail)
    monkeypatch.setattr(run, "cooperate", lambda *batches: (_ for _ in ()).throw(ZeroDivisionError()))
    text = console_of_failed_run(run, tmp_path / "run", ZeroDivisionError)
    what = {"partial_result": "the trained networks", "save_report": "the report"}[name]
    reason = "a folder" if isinstance(error, GccError) else f"{type(error).__name__}: {error}"
    assert f"{what} could not be saved: {reason}\n" in text and "once that is fixed, continue" in text
    assert (tmp_path / "run" / "report.html").exists() == (name == "partial_result")


def test_a_warning_whose_report_cannot_be_written_does_not_stop_the_run(tmp_path, monkeypatch):
    def refused(runs, out=None):
        raise GccError("a foreign page is in the way")

    monkeypatch.setattr("gcc.training.progress.save_report", refused)
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)
    monkeypatch.setattr(CollapsePolicy, "after_epoch", lambda *_: {"student": "looks odd"})
    console = io.StringIO()
    assert Session(run, tmp_path).train(Console(file=console, width=300)).student
    assert "looks odd; see metrics.jsonl, since the report could not be written: a foreign page is in the way" in console.getvalue()


def test_a_frozen_teacher_was_trained_for_no_epoch(tmp_path):
    Trainer(Teacher.create("pix2pix"), **SETTINGS).run().save(tmp_path)
    run = Compressor(Teacher.load(tmp_path / "teacher"), **SETTINGS | {"train_teacher": False})
    result = run.run()
    assert result.measurements()["G"]["teacher"]["epoch"] == 0 and result.measurements()["G"]["student"]["epoch"] > 0


def test_the_log_has_the_metrics_of_an_epoch_with_a_warning(tmp_path, monkeypatch):
    logs = []
    monkeypatch.setattr(
        "gcc.training.progress.save_report", lambda runs, out=None: logs.append((tmp_path / "metrics.jsonl").read_text()) or "page"
    )
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS | {"epochs": 1})
    monkeypatch.setattr(CollapsePolicy, "after_epoch", lambda *_: {"student": "looks odd"})
    Session(run, tmp_path).train(Console(file=io.StringIO()))
    assert any("val/student/G/psnr" in json.loads(line) for line in logs[0].splitlines())


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (MemoryError(), "batches of 8 at 32 pixels do not fit into memory: give a `micro_batch`, or start anew"),
        (torch.OutOfMemoryError("CUDA out of memory"), "do not fit into memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "do not fit into memory"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "a process that reads images was killed"),
        (torch._dynamo.exc.TorchDynamoException("no C++ compiler\nmuch more"), "`compile`: no C\\+\\+ compiler: leave it out"),
        (RuntimeError("a defect"), "a defect"),
    ],
    ids=["memory", "cuda", "allocator", "reader", "compiler", "other"],
)
def test_errors_of_the_machine_are_explained(error, message, tmp_path, monkeypatch):
    run = Compressor(Teacher.create("pix2pix"), **SETTINGS)

    def fail(*arguments):
        raise error

    monkeypatch.setattr(run, "cooperate", fail)
    tmp_path.joinpath("run").mkdir()
    with pytest.raises(RuntimeError if message == "a defect" else GccError, match=message):
        Session(run, tmp_path / "run").train(Console(file=io.StringIO(), width=300))
    assert list((tmp_path / "run" / "checkpoints").iterdir())


ALIKE = "fake images are all alike: they differ by {:.1%} of the difference between real images"
STARVED = "the discriminator loss fell to {:.2g} (chance level 2) while the generator loss grew to {:.3g}"


def test_a_sign_of_collapse_is_printed_when_it_begins_and_when_it_changes(tmp_path, monkeypatch):
    one, other = [ALIKE.format(0.01 / epoch) for epoch in (1, 2)], [STARVED.format(10.0**-epoch, 3.7 * epoch) for epoch in (1, 7)]
    signs = [
        {},
        {"student": one[0]},
        {"student": one[1]},
        {"student": other[0]},
        {"student": other[1], "teacher": one[0]},
        {},
        {"student": one[1]},
    ]
    run = Trainer(Teacher.create("pix2pix"), **SETTINGS | {"epochs": len(signs)})
    monkeypatch.setattr(CollapsePolicy, "after_epoch", lambda self, epoch, broken: signs[epoch - 1])
    monkeypatch.setattr(ProgressLog, "_report_page", lambda self: "report")
    console = io.StringIO()
    with Session(run, tmp_path / "run") as session:
        session.prepare()
        session.train(Console(file=console, width=300))
    lines = [line.partition(", step")[0] for line in console.getvalue().splitlines() if "see report" in line]
    assert lines == ["student, epoch 2", "student, epoch 4", "teacher, epoch 5", "student, epoch 7"]


def test_every_rollback_is_printed(tmp_path, monkeypatch):
    run = Trainer(Teacher.create("pix2pix"), **SETTINGS | {"epochs": 3})

    def rolled_back(self, epoch, broken):
        self.rolled_back = True
        return {"teacher": "teacher/G is not finite; rolled back"}

    monkeypatch.setattr(CollapsePolicy, "after_epoch", rolled_back)
    console = io.StringIO()
    Session(run, tmp_path).train(Console(file=console, width=300))
    assert console.getvalue().count("is not finite; rolled back") == 3

"""Generators that are trained further are measured as they were given, and the student is compared with such a teacher first."""

import copy
import json

import pytest
import torch

from gcc import Compressor, Teacher, Trainer
from gcc.artifacts.comparison import comparison
from gcc.artifacts.model import read
from gcc.evaluation.evaluate import evaluate
from gcc.report.cells import summary
from gcc.report.run_record import read_run
from gcc.training import measure
from gcc.training.best import snapshots
from tests.helpers.families import TINY

SETTINGS = TINY["pix2pix"] | {"epochs": 2}


@pytest.fixture
def teacher(tmp_path):
    Trainer(Teacher.create("pix2pix"), **SETTINGS).run().save(tmp_path / "given")
    return Teacher.load(tmp_path / "given" / "teacher")


@pytest.mark.parametrize("kind", [Compressor, Trainer])
def test_the_teacher_as_given_comes_first_with_its_own_metrics(kind, teacher, tmp_path):
    result = kind(teacher, **SETTINGS).run()
    measurements = result.measurements()["G"]
    expected = {key: metric.value for key, metric in evaluate(teacher.folder).metrics["G"].items()}
    assert next(iter(measurements)) == "teacher (as given)"
    assert measurements["teacher (as given)"]["metrics"] == pytest.approx(expected)
    assert measurements["teacher"]["metrics"] != measurements["teacher (as given)"]["metrics"]
    table = comparison(measurements)
    assert table["epoch"][:2] == ["as given", "2 (last)"] and "%" not in table["parameters"][0]
    result.save(tmp_path / "run")
    assert read(tmp_path / "run" / "teacher")["G"].measurements == measurements
    assert "| teacher (as given) | teacher |" in (tmp_path / "run" / "teacher" / "README.md").read_text()


def test_the_report_compares_the_student_with_the_teacher_as_given(teacher, tmp_path):
    run = Compressor(teacher, **SETTINGS)
    run.run().save(tmp_path / "run")
    (tmp_path / "run" / "recipe.toml").write_text(run.recipe.to_toml(run.arch))
    (of_generator,) = summary(read_run(tmp_path / "run"))
    assert of_generator.columns[0].title == "teacher (as given)"
    measurements = read(tmp_path / "run" / "student")["G"].measurements
    l1, own = (measurements[title]["metrics"]["l1"] for title in ("teacher (as given)", "student"))
    assert of_generator.tiles[-1].note == f"teacher (as given) {l1:.4g}, difference {own - l1:+.3g}"
    assert measurements["teacher (as given)"]["latency_ms"] == measurements["teacher"]["latency_ms"]


def test_the_teacher_as_given_is_timed_only_with_the_result(teacher, monkeypatch):
    """It has the latency of the trained teacher, which is the same network."""
    run, timed = Trainer(teacher, **SETTINGS | {"epochs": 1, "budget": "1ms@cpu"}), []
    for name in ("measure_in_turns", "measure_optimized_in_turns"):
        measured = getattr(measure, name)
        monkeypatch.setattr(measure, name, lambda networks, *rest, now=measured: timed.append(len(networks)) or now(networks, *rest))
    for _ in run.steps():
        assert not timed
    result = run.result()
    given, trained = (pair.generators["G"] for pair in (result.given["teacher"], result.pairs["teacher"]))
    assert timed == [1, 1] and given.latency is trained.latency and given.latency_budget is trained.latency_budget is not None


def test_a_student_that_is_trained_further_has_a_column_as_given(teacher, tmp_path):
    Compressor(teacher, **SETTINGS | {"epochs": 1}).run().save(tmp_path)
    result = Compressor(Teacher.create("pix2pix"), student=tmp_path / "student", **SETTINGS).run()
    measurements = result.measurements()["G"]
    assert list(measurements) == ["teacher", "student (as given)", "student"]
    given, trained = measurements["student (as given)"], measurements["student"]
    expected = {key: metric.value for key, metric in evaluate(tmp_path / "student").metrics["G"].items()}
    assert given["metrics"] == pytest.approx(expected) and given["metrics"] != trained["metrics"]
    assert given["latency_ms"] == trained["latency_ms"]
    assert comparison(measurements)["epoch"] == ["2 (last)", "as given", "2 (last)"]


@pytest.mark.slow
def test_other_teachers_have_one_column(teacher):
    assert Compressor(teacher, train_teacher=False, **SETTINGS).run().given == {}
    assert Compressor(teacher, **SETTINGS | {"evaluators": ""}).run().given == {}
    assert Compressor(Teacher.create("pix2pix"), **SETTINGS).run().given == {}


def test_measuring_the_teacher_changes_no_bit_and_survives_a_stop(teacher, monkeypatch):
    run = Compressor(teacher, **SETTINGS)
    for step in run.steps():
        if step.phase == "train" and not step.ends_epoch:
            checkpoint = copy.deepcopy(run.checkpoint(step))
    resumed = Compressor(teacher, **SETTINGS)
    resumed.resume(checkpoint)
    assert resumed.run().given["teacher"].generators["G"].metrics == run.result().given["teacher"].generators["G"].metrics
    monkeypatch.setattr("gcc.training.measure.evaluate_given", lambda run: {})
    plain = Compressor(teacher, **SETTINGS)
    assert plain.run().given == {}
    for role, pair in run.pairs.items():
        expected = snapshots(plain.pairs[role].generators)["G"]
        assert all(torch.equal(value, expected[key]) for key, value in snapshots(pair.generators)["G"].items())


def test_the_plan_warns_of_demo_data_for_a_teacher_of_other_data(teacher, few_pairs):
    command = teacher.folder.parent / "command.json"
    for data, warns in ((few_pairs, True), (None, False)):
        command.write_text(json.dumps({"command": "train", "options": {"data": data and str(data), "dataset": None}}))
        note = Compressor(teacher, **SETTINGS).plan().get("note", "")
        assert (f"trained on {few_pairs}, and this run uses demo data: give `data`" in note) == warns
    command.write_text(json.dumps({"command": "train", "options": {"data": str(few_pairs), "dataset": None}}))
    assert "demo data" not in Compressor(teacher, few_pairs, **SETTINGS).plan().get("note", "")

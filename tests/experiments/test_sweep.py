"""One teacher and a student per budget: each as a run of its own would train it, resumable, with the curve of quality over cost."""

import io
import json
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from torch.utils.data import DataLoader, TensorDataset

from gcc import Compressor, Sweep, Teacher, Trainer, load
from gcc.artifacts.model import read
from gcc.cli.tables import curve
from gcc.errors import BudgetError, GccError, OutputError
from gcc.experiments.ablation import Ablation
from gcc.experiments.sweep import require_one_runtime
from gcc.recipe import changed, read_toml
from gcc.registry import MetricKey
from gcc.report.panels import Curve, framed
from gcc.report.sweep import SweepRecord, curve_panels, markdown_tables, next_steps, read_sweep
from tests.helpers.custom_toys import Translator
from tests.helpers.families import TINY

L1 = MetricKey.parse("l1")


def options(arch="pix2pix", **settings):
    return {"device": "cpu"} | {name: value for name, value in TINY[arch].items() if name != "budget"} | settings


def sweep(out, budgets=("40%", "60%"), arch="pix2pix", **settings):
    return Sweep(Teacher.create(arch), out, budgets, **options(arch, **settings))


def train(sweep):
    return list(sweep.runs(Console(file=io.StringIO())))


def same_weights(network, folder):
    saved = read(folder)
    return all(
        (value == saved[name].network().state_dict()[key]).all() for name, one in network.items() for key, value in one.state_dict().items()
    )


def phases(folder):
    return {json.loads(line)["phase"] for line in (folder / "metrics.jsonl").read_text().splitlines()}


@pytest.mark.slow
def test_every_student_is_that_of_a_run_of_its_own_with_one_frozen_teacher(tmp_path):
    own = sweep(tmp_path)
    plan = own.plan()
    assert plan["runs"] == "one teacher, trained for 2 epochs and then frozen; 2 students"
    assert "40% of the teacher's MACs" in plan["40%"] and "60% of the teacher's MACs" in plan["60%"] and "budget" not in plan
    assert train(own) == ["teacher", "budget 40%", "budget 60%"]

    trained = Trainer(Teacher.create("pix2pix"), **options()).run().pairs["teacher"].networks()
    assert same_weights(trained, tmp_path / "teacher" / "teacher")
    teacher = Teacher.load(tmp_path / "teacher" / "teacher")
    for budget in own.budgets:
        assert same_weights(trained, tmp_path / budget / "teacher")
        alone = Compressor(teacher, budget=budget, train_teacher=False, **options()).run()
        assert same_weights(alone.students, tmp_path / budget / "student"), budget
    # Both prune a generator of the same width, which is trained once.
    assert phases(tmp_path / "40%") == {"search", "train"} and phases(tmp_path / "60%") == {"train"}
    assert train(sweep(tmp_path)) == []


@pytest.mark.slow
def test_what_is_finished_is_kept_and_what_was_stopped_goes_on(tmp_path, monkeypatch):
    whole, stopped = sweep(tmp_path / "whole"), sweep(tmp_path / "stopped")
    train(whole)

    def stop(run):
        if "student" in run.pairs and run.epoch == 2:
            raise KeyboardInterrupt
        return {}

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Compressor, "monitored", stop)
        train(stopped)
    assert (tmp_path / "stopped" / "40%" / "checkpoints").is_dir() and not (tmp_path / "stopped" / "60%").exists()
    assert train(sweep(tmp_path / "stopped")) == ["budget 40%", "budget 60%"]
    assert not (tmp_path / "stopped" / "40%" / "replaced").exists() and phases(tmp_path / "stopped" / "60%") == {"train"}
    for budget in whole.budgets:
        first, second = ((tmp_path / name / budget / "student" / "model.safetensors").read_bytes() for name in ("whole", "stopped"))
        assert first == second
    # A budget more: the rest is kept.
    assert train(sweep(tmp_path / "whole", ["40%", "60%", "80%"])) == ["budget 80%"]


@pytest.mark.slow
def test_a_metric_that_reads_gradients_scores_every_budget_as_alone(tmp_path, monkeypatch):
    from gcc.pruning.importance import L1Norm

    class Gradients(L1Norm):
        gradient_batches = 2

        def score(self, network, group):
            gradients = [network.get_parameter(producer.parameter).grad.transpose(0, producer.dim) for producer in group.producers]
            return sum(gradient.abs().flatten(1).sum(1).view(group.channels, -1).sum(1) for gradient in gradients)

    monkeypatch.setattr(Compressor, "metric", Gradients())
    own = sweep(tmp_path, ["50%", "70%", "90%"], arch="sagan")
    train(own)
    for budget in own.budgets:
        alone = Compressor(Teacher.load(tmp_path / "teacher" / "teacher"), budget=budget, train_teacher=False, **options("sagan")).run()
        assert same_weights(alone.students, tmp_path / budget / "student"), budget


@pytest.mark.slow
def test_a_teacher_can_train_along_as_in_algorithm_1(tmp_path):
    own = sweep(tmp_path, train_teacher="true")
    assert own.plan()["runs"] == "the teacher trains along with every student; 2 students"
    assert train(own) == ["budget 40%", "budget 60%"]
    for budget in own.budgets:
        alone = Compressor(Teacher.create("pix2pix"), budget=budget, **options()).run()
        assert same_weights(alone.students, tmp_path / budget / "student")
        assert same_weights(alone.pairs["teacher"].networks(), tmp_path / budget / "teacher")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sweep", "ablation"])
def test_finished_runs_are_freed_before_the_next_one_trains(kind, tmp_path, monkeypatch):
    if kind == "sweep":
        group = sweep(tmp_path, ["40%", "50%", "60%"])
    else:
        group = Ablation(Teacher.create("pix2pix"), tmp_path, ["pruned-only", "gcc"], seeds=1, **options(budget="40%"))
    pairs, left = [], []
    train_member = type(group)._train

    def train_and_count(self, run, folder, console):
        left.append(sum(pair() is not None for pair in pairs))
        train_member(self, run, folder, console)
        pairs.extend(weakref.ref(pair) for pair in run.pairs.values())

    monkeypatch.setattr(type(group), "_train", train_and_count)
    train(group)
    assert len(pairs) > 2 and left == [0] * len(left)


@pytest.mark.slow
def test_a_longer_sweep_trains_its_students_on_with_the_same_teacher(tmp_path):
    train(sweep(tmp_path))
    teacher = (tmp_path / "teacher" / "teacher" / "model.safetensors").read_bytes()
    assert train(sweep(tmp_path, epochs=3)) == ["budget 40%", "budget 60%"] and train(sweep(tmp_path, epochs=3)) == []
    assert (tmp_path / "teacher" / "teacher" / "model.safetensors").read_bytes() == teacher
    assert sweep(tmp_path, epochs=3).plan()["runs"].startswith("one teacher, trained for 2 epochs")
    for budget in ("40%", "60%"):
        assert read(tmp_path / budget / "student")["G"].recipe.epochs == 3
    with pytest.raises(OutputError, match=r"contains a longer run \(epochs was 3 and is 1\): a run may only grow, so give at least"):
        train(sweep(tmp_path, epochs=1))
    (tmp_path / "40%" / "checkpoint.safetensors").unlink()
    with pytest.raises(OutputError, match="40% cannot go on: its last state was not kept"):
        train(sweep(tmp_path, epochs=4))


@pytest.mark.slow
def test_students_of_earlier_calls_stay_in_the_comparison(tmp_path):
    def own(*budgets):
        settings = {name: value for name, value in options(epochs=1).items() if name != "prune_width"}
        return Sweep(Teacher.create("pix2pix"), tmp_path, budgets, **settings)

    own("60%").run()
    for name in ("notes/student", "60%-old/student"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "60%-old" / "recipe.toml").write_text("damaged = ")
    measured = own("25%", "25%").run()
    assert read_toml(tmp_path / "25%" / "recipe.toml")["prune_width"] != read_toml(tmp_path / "60%" / "recipe.toml")["prune_width"]
    assert list(measured["G"]) == ["teacher", "25%", "60%"] and list(read_sweep(tmp_path).students) == ["25%", "60%"]
    assert "60%" in (tmp_path / "sweep.md").read_text()


def test_a_budget_given_twice_is_named(tmp_path):
    assert sweep(tmp_path, ["40%", "60%", " 40%"]).plan()["runs"].endswith("2 students (40% is given more than once, and trained once)")


@pytest.mark.slow
def test_a_given_teacher_is_not_trained_again(tmp_path):
    Trainer(Teacher.create("pix2pix"), **options()).run().save(tmp_path / "given")
    own = Sweep(Teacher.load(tmp_path / "given" / "teacher"), tmp_path / "out", ["40%"], **options())
    assert own.plan()["runs"] == "one teacher, frozen; 1 student"
    assert train(own) == ["budget 40%"]
    names = {"teacher": "40%/teacher", "40%": "40%/student"}
    assert {title: str(folder.relative_to(tmp_path / "out")) for title, folder in own.folders().items()} == names
    # Without discriminators that the students learn from, new ones train along.
    (tmp_path / "given" / "teacher" / "discriminators.safetensors").unlink()
    for settings, freezes in (({}, False), ({"lambda_distill_d": 0, "lambda_global": 0}, True)):
        own = Sweep(Teacher.load(tmp_path / "given" / "teacher"), tmp_path / "more", ["40%"], **options(**settings))
        assert own.freezes_teacher == freezes


@pytest.mark.slow
def test_a_sweep_over_ones_own_generator_trains_the_students_of_runs_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def own(kind, **settings):
        torch.manual_seed(0)
        short = {"steps": 1, "batch_size": 2, "ndf": 4, "size": 32, "device": "cpu"}
        return kind(generator=Translator(), task="paired", **short, **settings)

    measured = own(Sweep, budgets=["60%", "80%"]).run()
    assert [*measured["G"]] == ["teacher", "60%", "80%"]
    assert train(own(Sweep, budgets=["60%", "80%"])) == []
    alone = own(Compressor, budget="80%").run().students["G"].state_dict()
    student = load(tmp_path / "runs" / "paired-sweep" / "80%" / "student", factory=Translator).state_dict()
    assert all(torch.equal(tensor, student[name]) for name, tensor in alone.items())


@pytest.mark.slow
def test_the_curve_and_the_table_have_every_student(tmp_path):
    own = sweep(tmp_path, ["40%,60%", "90%"], arch="cyclegan", evaluators="fd_effnetlite0")
    measured = own.run()
    assert list(measured) == ["A2B", "B2A"] and [*measured["A2B"]] == ["teacher", "40%,60%", "90%"]
    saved = {name: read(tmp_path / name / "student")["A2B"].measurements["student"] for name in own.budgets}
    assert {name: measured["A2B"][name]["exact_macs"] for name in own.budgets} == {n: one["exact_macs"] for n, one in saved.items()}
    panels = curve_panels(read_sweep(tmp_path))
    assert [panel.title for panel in panels] == [f"{name} fd_effnetlite0 (lower is better)" for name in ("A2B", "B2A")]
    student, teacher = panels[0].curves
    assert student.x.tolist() == [measured["A2B"][name]["exact_macs"] for name in own.budgets] and student.notes == ["40%,60%", "90%"]
    assert student.y.tolist() == [measured["A2B"][name]["metrics"]["fd_effnetlite0"] for name in own.budgets]
    assert teacher.y.tolist() == [measured["A2B"]["teacher"]["metrics"]["fd_effnetlite0"]]
    assert json.loads((tmp_path / "sweep.json").read_text()) == measured
    table = (tmp_path / "sweep.md").read_text()
    assert table == markdown_tables(measured) and table.count("| A2B | teacher | 40%,60% | 90% |") == 1
    page = (tmp_path / "report.html").read_text()
    assert "Quality over cost" in page and page.count("<svg") == 2 and page.count("<img") == 1 and "https:" not in page
    assert f"gcc sweep --resume {tmp_path} --budget 75%" in page and "training time" in page
    assert (tmp_path / "report.html") in own.save()


@pytest.mark.parametrize(
    ("budgets", "cost"),
    [
        (["10%", "2.5M"], "MACs, exact"),
        (["10%params", "2Kparams"], "parameters"),
        (["8ms@cpu", "9ms@cpu"], "latency"),
        (["9%", "9%params"], "MACs, exact"),
    ],
)
def test_the_curve_is_over_what_the_budgets_limit(budgets, cost):
    values = {"exact_macs": 1, "paper_macs": 2, "parameters": 3, "ready_ms": 4.0, "metrics": {L1: 0.5}}
    (panel,) = curve_panels(SweepRecord(Path(), "pix2pix", [], {"G": {title: values for title in ("teacher", *budgets)}}, "exact", {}))
    assert panel.across == cost


def test_metrics_that_are_not_finite_are_left_out():
    values = {"exact_macs": 1, "metrics": {L1: 0.5}}
    columns = {"G": {"teacher": values, "10%": values | {"metrics": {L1: float("nan")}}, "20%": values | {"exact_macs": 0}}}
    (panel,) = curve_panels(SweepRecord(Path(), "pix2pix", [], columns, "exact", {}))
    assert panel.curves[0].notes == ["20%"] and "20%" in curve(panel).plain


def test_the_next_steps_give_ones_own_code():
    steps = next_steps(SweepRecord(Path("s"), "paired", [], {"G": {"teacher": {}, "50%": {}}}, "exact", {}, ("--generator", "MODULE:NAME")))
    assert [step.command for step in steps if "--generator MODULE:NAME" in step.command] == [
        "gcc sweep --resume s --budget 75% --generator MODULE:NAME",
        "gcc evaluate s/50%/student --generator MODULE:NAME",
    ]


def test_the_curve_in_the_terminal_is_where_its_values_are():
    x, y = np.array([0.0, 50.0, 100.0]), np.array([1.0, 2.0, 3.0])
    (panel,) = framed("psnr", [Curve("student", "", x, y, 0, ["10%", "50%", "99%"])], "MACs", "dB")
    lines = curve(panel).plain.splitlines()
    rows = {note: next(line for line in lines if note in line) for note in ("10%", "50%", "99%")}
    assert lines[0] == "psnr" and lines.index(rows["99%"]) < lines.index(rows["50%"]) < lines.index(rows["10%"])
    places = [rows[note].index("●") for note in rows]
    assert places[0] < places[1] < places[2] and places[2] - places[0] == 59
    assert lines[-1].split() == ["0", "100", "MACs"] and "3.12 dB" in lines[1]
    narrow = curve(panel, 45).plain.splitlines()
    assert max(map(len, narrow)) <= 45 and narrow[-1].split() == lines[-1].split() and sum("●" in line for line in narrow) == 3


def test_what_would_fail_is_refused_before_the_teacher_trains(tmp_path):
    with pytest.raises(BudgetError, match=r"^0.1%: budget .* can be pruned to between"):
        sweep(tmp_path, ["40%", "0.1%"]).plan()
    with pytest.raises(BudgetError, match="expected `3.0G`"):
        sweep(tmp_path, ["40%", "a/b"]).plan()
    with pytest.raises(BudgetError, match="'10%,40%': expected one budget for each student, not joined by commas"):
        sweep(tmp_path, ["10%,40%"])
    with pytest.raises(BudgetError, match="expected at least one"):
        sweep(tmp_path, [])
    for budgets in ("40%", [0.25], 3, None):
        with pytest.raises(GccError, match="^budgets = .*: expected a sequence with a string as its items"):
            sweep(tmp_path, budgets)
    for name in ("widths", "student", "budget"):
        with pytest.raises(GccError, match=f"leave {name} out"):
            sweep(tmp_path, **{name: str(tmp_path)})
    assert not any(tmp_path.iterdir())


def test_latencies_in_different_runtimes_are_refused(tmp_path):
    message = "^budgets 8ms@cpu, 8ms@onnxruntime: expected latencies in one runtime, not in cpu and onnxruntime, .* one sweep for each"
    with pytest.raises(BudgetError, match=message):
        sweep(tmp_path, ["8ms@cpu", "8ms@onnxruntime"]).plan()
    with pytest.raises(BudgetError, match="not in cpu and ncnn"):
        require_one_runtime(["8ms@cpu,25%", "10%", "25%,8ms@cpu", "8ms@ncnn,25%"], ["A2B", "B2A"])


@pytest.mark.parametrize("budgets", [["8ms@cpu", "25%", "2Mparams", "9ms@cpu"], ["8ms@cpu,9ms@ncnn", "25%", "7ms@cpu,8ms@ncnn"]])
def test_one_runtime_for_each_generator_is_taken_also_beside_other_budgets(budgets):
    require_one_runtime(budgets, ["A2B", "B2A"] if "," in budgets[0] else ["G"])


def test_a_student_of_an_earlier_call_with_another_runtime_is_refused(tmp_path, monkeypatch):
    earlier = tmp_path / "8ms@onnxruntime"
    monkeypatch.setattr("gcc.experiments.sweep.is_finished", lambda folder: folder == earlier)
    monkeypatch.setattr("gcc.experiments.sweep.read", lambda folder: {"G": None})
    own = sweep(tmp_path, ["8ms@cpu"])
    (earlier / "student").mkdir(parents=True)
    recipe = own.first.recipe.to_dict() | {"train_teacher": not own.freezes_teacher}
    (earlier / "recipe.toml").write_text(changed(own.first.recipe, recipe).to_toml("pix2pix"))
    with pytest.raises(BudgetError, match="^budgets 8ms@cpu, 8ms@onnxruntime: .* not in cpu and onnxruntime"):
        own.plan()


@pytest.mark.parametrize("kind", [Sweep, Ablation])
def test_a_dataset_is_refused_since_another_process_cannot_compare_it(kind, tmp_path):
    dataset = TensorDataset(torch.rand(4, 3, 32, 32))
    for data in (dataset, DataLoader(dataset), {"train": dataset}):
        with pytest.raises(GccError, match=rf"^data = [^\n]*: expected a folder, since {kind.noun} must find the same data") as error:
            kind(Teacher.create("pix2pix"), tmp_path, ["gcc"], data, **options())
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_another_recipe_or_other_inputs_are_refused(tmp_path):
    train(sweep(tmp_path))
    with pytest.raises(OutputError, match=r"contains a sweep with other inputs \(amp was auto and is bf16\)"):
        sweep(tmp_path, amp="bf16").plan()
    with pytest.raises(OutputError, match=r"another recipe \(lr_g was"):
        train(sweep(tmp_path, lr_g=1e-3))


@pytest.mark.parametrize("content", ["", "[]", '{"60%": 3}', '{"60%": {"recipe": {}, "widths": {"G": {}}}}'])
def test_widths_of_another_search_are_not_taken(tmp_path, content):
    (tmp_path / "sweep-widths.json").write_text(content)
    run = sweep(tmp_path)._planned[1]
    assert sweep(tmp_path)._saved_widths("60%", run) == {}

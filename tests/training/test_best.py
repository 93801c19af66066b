"""Which epoch is the result: the last, or the best on the validation images by a metric that may select; both are reported."""

import numpy as np
import pytest
import torch
from PIL import Image

from gcc import Compressor, Teacher, load
from gcc.artifacts.comparison import comparison
from gcc.artifacts.model import read
from gcc.errors import RecipeError
from gcc.evaluation.split import SplitEvaluation
from gcc.registry import ARCHITECTURES, EVALUATORS, MetricKey
from gcc.training.best import BestCheckpoint, restored, snapshots
from gcc.training.build_pairs import teacher_pair
from gcc.training.loss_tree import flattened
from gcc.training.measure import held_out_grid
from tests.helpers.families import TINY, demo_data


@pytest.fixture(scope="module", autouse=True)
def _validation_split_of_five():
    with demo_data(val=5):
        yield


def scripted(monkeypatch, values):
    """Replace the metrics of the validation split by these values, in order; the test split is evaluated as ever."""
    remaining, evaluate = iter(values), SplitEvaluation.evaluate

    def validation(self, generators):
        if len(self.source) != 5:
            return evaluate(self, generators)
        value = next(remaining)
        return {name: {"psnr": value + number} for number, name in enumerate(generators)}

    monkeypatch.setattr(SplitEvaluation, "evaluate", validation)


def run(arch="pix2pix", **settings):
    return Compressor(Teacher.create(arch), **TINY[arch] | {"epochs": 4, "evaluate_every": 1, "evaluators": "psnr"} | settings)


@pytest.mark.parametrize("rule", ["auto", "psnr"])
def test_the_best_epoch_and_the_last_are_saved(rule, monkeypatch, tmp_path):
    result_title, other_title = ("last", "best") if rule == "auto" else ("best", "last")
    results = {"auto": {"teacher": 4, "student": 4}, "psnr": {"teacher": 2, "student": 3}}[rule]
    others = {"psnr": {"teacher": 4, "student": 4}, "auto": {"teacher": 2, "student": 3}}[rule]
    notes = {"best": "best by psnr", "last": "last"}
    # By epoch, the teacher and the student: the teacher is best in the second, the student in the third.
    scripted(monkeypatch, [1, 1, 9, 2, 3, 8, 4, 7])
    compressor, states = run(result_epoch=rule), {}
    for step in compressor.steps():
        if step.phase == "train" and step.ends_epoch:
            states[step.epoch] = {role: snapshots(pair.generators)["G"] for role, pair in compressor.pairs.items()}
            assert flattened(step.metrics).keys() == {"teacher/G/psnr", "student/G/psnr"}
    result = compressor.result()
    for role, epoch in results.items():
        chosen = result.pairs[role].generators["G"]
        assert (chosen.epoch, chosen.epoch_note) == (epoch, notes[result_title])
        assert result.roles[role].other.generators["G"].epoch == others[role]
        assert all(torch.equal(chosen.network.state_dict()[key].cpu(), value) for key, value in states[epoch][role].items())
    result.save(tmp_path)
    measurements = result.measurements()["G"]
    assert list(measurements) == ["teacher", "student", f"teacher ({other_title})", f"student ({other_title})"]
    text = {"last": "4 (last)", "best": "3 (best by psnr)"}
    assert comparison(measurements)["epoch"][1::2] == [text[result_title], text[other_title]]
    for folder, epoch in ((tmp_path / "student", results["student"]), (tmp_path / other_title / "student", others["student"])):
        saved = load(folder).state_dict()
        assert all(torch.equal(saved[key], value) for key, value in states[epoch]["student"].items())
        saved_measurements = read(folder)["G"].measurements
        assert saved_measurements["student"]["epoch"] == epoch
        # The grid shows the weights in the same folder.
        networks = {role: {"G": load(tmp_path / role)} for role in ("teacher", "student")} | {"student": {"G": load(folder)}}
        with Image.open(folder / "samples.png") as grid:
            assert np.array_equal(np.asarray(grid), np.asarray(held_out_grid(compressor.context, networks)))
    assert read(tmp_path / "student")["G"].measurements == measurements
    saved_with_other = read(tmp_path / other_title / "student")["G"].measurements
    assert saved_with_other[f"student ({result_title})"] == measurements["student"]
    assert saved_with_other["student"] == measurements[f"student ({other_title})"]


def test_only_metrics_that_follow_what_people_see_select_by_themselves():
    perceptual = {name for name in EVALUATORS.names() if EVALUATORS.load(name).perceptual}
    assert perceptual & BUILT_IN == {"lpips", "fid", "fd_effnetlite0", "kid", "miou", "miou_small"}


BUILT_IN = {"l1", "psnr", "ssim", "psnr_y", "ssim_y", "lpips", "fid", "fd_effnetlite0", "kid", "miou", "miou_small"}
CASES = [
    # evaluators, result_epoch, whether there are validation images, the ranking metric, whether it selects, a word of the reason
    ("l1,psnr", "auto", True, "l1", False, "no perceptual metric among l1, psnr"),
    ("l1,lpips,fid", "auto", True, "lpips", True, "perceptual"),
    ("l1,lpips", "last", True, "l1", False, "result_epoch = last"),
    ("l1,psnr", "psnr", True, "psnr", True, "result_epoch = psnr"),
    ("fid", "auto", False, "", False, "no validation images"),
    ("l1", "l1", False, "", False, "no validation images"),
    ("", "auto", True, "", False, "no evaluator"),
]


@pytest.mark.parametrize(("evaluators", "result_epoch", "validates", "metric", "selects", "reason"), CASES)
def test_the_rule_names_its_epoch_and_its_reason(evaluators, result_epoch, validates, metric, selects, reason):
    compressor = run(evaluators=evaluators, result_epoch=result_epoch)
    if not validates:
        compressor.context.data.validation = None
    rule = compressor.epoch_rule
    assert (rule.metric, rule.selects) == (metric, selects) and reason in rule.reason
    text = compressor.plan()["result"]
    assert reason in text and text.startswith(f"the best epoch by {metric} on the validation images" if selects else "the last epoch")


@pytest.mark.parametrize("arch", ARCHITECTURES.names())
def test_published_recipes_and_demos_report_the_last_epoch(arch):
    for recipe in (ARCHITECTURES.load(arch).published(), ARCHITECTURES.load(arch).demo()):
        named = [name for name in recipe.evaluators.split(",") if name]
        assert recipe.result_epoch == "auto" and not any(EVALUATORS.load(name).perceptual for name in named)


def test_only_an_evaluator_of_the_run_can_select():
    with pytest.raises(RecipeError, match="result_epoch = 'fid': expected auto, last, l1, psnr"):
        run(evaluators="l1,psnr", result_epoch="fid")


def test_a_best_last_epoch_is_saved_once(monkeypatch, tmp_path):
    scripted(monkeypatch, [1, 1, 2, 2, 3, 3, 4, 4])
    result = run().run()
    assert list(result.measurements()["G"]) == ["teacher", "student"]
    result.save(tmp_path)
    assert not (tmp_path / "last").exists()


def test_smaller_is_better_if_the_evaluator_says_so_and_nan_never_wins(monkeypatch):
    compressor = run(evaluators="l1")
    validation = compressor.context.validation
    best = BestCheckpoint(validation, {"student": teacher_pair(compressor.context)}, "l1")
    lower, upper, other = MetricKey("l1", "a"), MetricKey("l1", "b"), MetricKey("psnr")
    for epoch, value in enumerate([float("nan"), 0.5, 0.3, float("nan"), 0.4], start=1):
        metrics = {"G": {lower: value - 0.1, upper: value + 0.1, other: 9.0}}
        monkeypatch.setattr(validation, "evaluate", lambda generators, metrics=metrics: metrics)
        best.update(epoch)
    assert best.best["student"].epoch == 3 and best.best["student"].metric == pytest.approx(0.3)


def test_epochs_are_evaluated_as_often_as_asked_and_in_the_end():
    evaluated = [step.epoch for step in run(evaluate_every=3).steps() if step.metrics]
    assert evaluated == [3, 4]


def test_without_an_evaluator_or_validation_images_the_last_epoch_is_the_result():
    assert run(evaluators="").context.validation is None
    compressor = run()
    compressor.context.data.validation = None
    roles = compressor.run().roles
    assert compressor.best is None
    assert all(role.best is role.last for role in roles.values())


def test_restoring_leaves_the_networks_as_they_are():
    pair = teacher_pair(run().context)
    # Networks of one's own may store what they computed.
    pair.generators["G"].stored = pair.generators["G"](torch.zeros(2, 3, 32, 32))
    states = {name: {key: torch.zeros_like(value) for key, value in state.items()} for name, state in snapshots(pair.generators).items()}
    before = snapshots(pair.generators)
    copies = restored(pair.generators, states)
    assert all(not value.any() for value in copies["G"].state_dict().values())
    assert all(torch.equal(before["G"][key], value) for key, value in pair.generators["G"].state_dict().items())

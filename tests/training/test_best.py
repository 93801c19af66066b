"""The best epoch is the one that the validation images tell, and both it and the last are reported."""

import numpy as np
import pytest
import torch
from PIL import Image

from gcc import Compressor, Teacher, load
from gcc.artifacts.model import read
from gcc.evaluation.split import SplitEvaluation
from gcc.registry import MetricKey
from gcc.training.best import BestCheckpoint, restored, snapshots
from gcc.training.loss_tree import flattened
from gcc.training.measure import held_out_grid
from gcc.training.pairs import teacher_pair
from tests.helpers.families import TINY

pytestmark = pytest.mark.usefixtures("small_worlds")


def scripted(monkeypatch, values):
    """Let the figures of validation, by epoch, be these; the test split goes on being judged."""
    told, figures = iter(values), SplitEvaluation.evaluate

    def validation(self, generators):
        if len(self.source) != 5:
            return figures(self, generators)
        value = next(told)
        return {name: {"psnr": value + number} for number, name in enumerate(generators)}

    monkeypatch.setattr(SplitEvaluation, "evaluate", validation)


def run(arch="pix2pix", **settings):
    from gcc.registry import ARCHITECTURES, DATASETS

    source = DATASETS.load(ARCHITECTURES.load(arch).demo_source)
    source.sizes = {"train": 40, "val": 5, "test": 6}
    return Compressor(Teacher.create(arch), **TINY[arch] | {"epochs": 4, "evaluate_every": 1, "evaluators": "psnr"} | settings)


def test_the_best_epoch_is_kept_and_the_last_beside_it(monkeypatch, tmp_path):
    # By epoch, the teacher's, then the student's: the teacher is best in the second, the student in the third.
    scripted(monkeypatch, [1, 1, 9, 2, 3, 8, 4, 7])
    game, states = run(), {}
    for step in game.steps():
        if step.phase == "train" and step.ends_epoch:
            states[step.epoch] = {side: snapshots(player.generators)["G"] for side, player in game.pairs.items()}
            assert flattened(step.metrics).keys() == {"teacher/G/psnr", "student/G/psnr"}
    result = game.result()
    for side, epoch in (("teacher", 2), ("student", 3)):
        best = result.pairs[side].generators["G"]
        assert best.epoch == epoch and result.roles[side].last.generators["G"].epoch == 4
        assert all(torch.equal(best.network.state_dict()[key].cpu(), value) for key, value in states[epoch][side].items())
    result.save(tmp_path)
    figures = result.measurements()["G"]
    assert list(figures) == ["teacher", "student", "teacher (last)", "student (last)"]
    assert figures["student"]["epoch"] == 3 and figures["student (last)"]["epoch"] == 4
    for place, epoch in ((tmp_path / "student", 3), (tmp_path / "last" / "student", 4)):
        saved = load(place).state_dict()
        assert all(torch.equal(saved[key], value) for key, value in states[epoch]["student"].items())
        told = read(place)["G"].measurements
        assert told["student"]["epoch"] == epoch
        # The pictures are those of the weights beside them.
        networks = {role: {"G": load(tmp_path / role)} for role in ("teacher", "student")} | {"student": {"G": load(place)}}
        with Image.open(place / "samples.png") as grid:
            assert np.array_equal(np.asarray(grid), np.asarray(held_out_grid(game.context, networks)))
    assert read(tmp_path / "student")["G"].measurements == figures
    assert read(tmp_path / "last" / "student")["G"].measurements["student (best)"] == figures["student"]


def test_a_best_last_epoch_is_saved_once(monkeypatch, tmp_path):
    scripted(monkeypatch, [1, 1, 2, 2, 3, 3, 4, 4])
    result = run().run()
    assert list(result.measurements()["G"]) == ["teacher", "student"]
    result.save(tmp_path)
    assert not (tmp_path / "last").exists()


def test_smaller_is_better_where_the_evaluator_says_so_and_what_is_no_number_never_wins(monkeypatch):
    game = run(evaluators="l1")
    held_out = game.context.validation
    selection = BestCheckpoint(held_out, {"student": teacher_pair(game.context)})
    lower, upper, other = MetricKey("l1", "a"), MetricKey("l1", "b"), MetricKey("psnr")
    for epoch, value in enumerate([float("nan"), 0.5, 0.3, float("nan"), 0.4], start=1):
        metrics = {"G": {lower: value - 0.1, upper: value + 0.1, other: 9.0}}
        monkeypatch.setattr(held_out, "evaluate", lambda generators, metrics=metrics: metrics)
        selection.update(epoch)
    assert selection.best["student"].epoch == 3 and selection.best["student"].metric == pytest.approx(0.3)


def test_epochs_are_judged_as_often_as_asked_and_in_the_end():
    judged = [step.epoch for step in run(evaluate_every=3).steps() if step.metrics]
    assert judged == [3, 4]


def test_without_an_evaluator_or_validation_images_the_last_epoch_is_the_result():
    assert run(evaluators="").context.validation is None
    game = run()
    game.context.data.validation = None
    roles = game.run().roles
    assert game.best is None
    assert all(outcome.best is outcome.last for outcome in roles.values())


def test_restoring_leaves_the_networks_as_they_are():
    player = teacher_pair(run().context)
    states = {name: {key: torch.zeros_like(value) for key, value in state.items()} for name, state in snapshots(player.generators).items()}
    before = snapshots(player.generators)
    copies = restored(player.generators, states)
    assert all(not value.any() for value in copies["G"].state_dict().values())
    assert all(torch.equal(before["G"][key], value) for key, value in player.generators["G"].state_dict().items())

"""What a run does when training really collapses."""

import copy
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from gcc import Compressor, Teacher
from gcc.errors import TrainingError
from gcc.evaluation.split import evenly_spaced
from gcc.recipe import Recipe
from gcc.training.best import snapshots
from gcc.training.checkpoint import Checkpoints
from gcc.training.collapse import CollapsePolicy, Diversity
from tests.helpers.families import TINY, demo_data


@pytest.fixture(scope="module", autouse=True)
def _five_steps_per_epoch():
    with demo_data(train=40):
        yield


# A generator that hardly learns against a full discriminator that does: Figure I.
COLLAPSING = TINY["pix2pix"] | {"discriminator": "full", "lambda_distill_g": 0.0, "lambda_distill_d": 0.0, "lambda_global": 0.0}
COLLAPSING |= {"gan_mode": "vanilla", "ndf": 8, "lr_d": 2e-3, "lr_g": 1e-5, "epochs": 6, "batch_size": 8}


def run(**settings):
    return Compressor(Teacher.create("pix2pix"), **COLLAPSING | settings)


def test_a_collapsing_run_is_reported_with_its_epoch():
    warned = {step.epoch: step.warnings for step in run().steps() if step.warnings}
    assert warned and all("student" in signs for signs in warned.values())


def test_a_healthy_run_is_not_reported():
    healthy = run(discriminator="selective", gan_mode="hinge", lr_g=2e-3, lr_d=5e-4, epochs=8)
    assert not [step.warnings for step in healthy.steps() if step.warnings]


def test_stop_names_the_epoch_the_signs_and_what_to_do():
    with pytest.raises(TrainingError, match=r"collapsed in epoch \d: .*student: .*lower `lr_d"):
        for _ in run(on_collapse="stop").steps():
            pass


def test_rollback_restores_the_last_good_epoch_at_half_the_rates_and_finally_gives_up():
    compressor = run(on_collapse="rollback", epochs=20)
    healthy, rolled = None, 0
    with pytest.raises(TrainingError, match="after 3 rollbacks"):
        for step in compressor.steps():
            if step.phase != "train" or not step.ends_epoch:
                continue
            if step.warnings:
                rolled += 1
                assert "rolled back to the last good epoch" in next(iter(step.warnings.values()))
                now = snapshots(compressor.student.generators)["G"]
                assert all(torch.equal(now[key], value) for key, value in healthy.items())
                assert compressor.student.optimizer_G.lr == pytest.approx(1e-5 * 0.5**rolled)
            if compressor.collapse.detector.is_calm and not step.warnings:
                healthy = snapshots(compressor.student.generators)["G"]
    assert rolled == 3


def test_losses_that_are_not_finite_are_rolled_back_too():
    compressor = run(on_nan="rollback", discriminator="selective", gan_mode="hinge", lr_g=2e-3, lr_d=5e-4, epochs=8)
    warned = {}
    for step in compressor.steps():
        if step.phase == "train" and step.ends_epoch:
            warned |= {step.epoch: step.warnings} if step.warnings else {}
            if step.epoch == 5 and not step.warnings:
                with torch.no_grad():
                    next(compressor.student.generators["G"].parameters()).fill_(torch.nan)
    assert list(warned) == [6] and "student/G" in warned[6]["student"]
    assert warned[6]["student"].endswith("is not finite; rolled back to the last good epoch, at half the learning rates of G and D")
    assert (compressor.student.optimizer_G.lr, compressor.student.optimizer_alpha.lr) == (1e-3, compressor.recipe.lr_alpha)
    assert all(parameter.isfinite().all() for parameter in compressor.student.generators["G"].parameters())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["generators", "discriminators"])
def test_weights_that_the_last_update_of_an_epoch_breaks_are_never_the_good_state(kind):
    compressor = run(on_nan="rollback", discriminator="selective", gan_mode="hinge", lr_g=2e-3, lr_d=5e-4, epochs=5)
    cooperate, steps = compressor.cooperate, []

    def breaking(first, second):
        losses = cooperate(first, second)
        steps.append(losses)
        if len(steps) == 3 * compressor.context.loader.steps:
            for network in getattr(compressor.student, kind).values():
                with torch.no_grad():
                    next(network.parameters()).fill_(torch.nan)
        return losses

    compressor.cooperate = breaking
    warned = {step.epoch: step.warnings for step in compressor.steps() if step.warnings}
    assert list(warned) == [4]
    assert all(parameter.isfinite().all() for parameter in next(iter(getattr(compressor.student, kind).values())).parameters())


def test_losses_that_are_not_finite_stop_the_run_by_default_even_if_a_collapse_is_rolled_back():
    compressor = run(on_collapse="rollback", discriminator="selective", gan_mode="hinge", lr_g=2e-3, lr_d=5e-4, epochs=8)
    with pytest.raises(TrainingError, match="student/.* is not finite at epoch 6, since step 26: give lower `lr_g"):
        for step in compressor.steps():
            if step.phase == "train" and step.ends_epoch and step.epoch == 5:
                with torch.no_grad():
                    next(compressor.student.generators["G"].parameters()).fill_(torch.nan)


@pytest.mark.slow
def test_a_resumed_run_is_rolled_back_to_the_checkpoint():
    settings = {"discriminator": "selective", "gan_mode": "hinge", "lr_g": 2e-3, "lr_d": 5e-4, "epochs": 8}
    original = run(**settings)
    checkpoint = next(copy.deepcopy(original.checkpoint(step)) for step in original.steps() if step.phase == "train" and step.epoch == 5)
    compressor = run(on_nan="rollback", **settings)
    compressor.resume(checkpoint)
    warned = []
    for step in compressor.steps():
        warned += [step.epoch] if step.warnings else []
        if step.epoch == 5 and not step.ends_epoch:
            with torch.no_grad():
                next(compressor.student.generators["G"].parameters()).fill_(torch.nan)
    assert warned == [5] and compressor.student.optimizer_G.lr == pytest.approx(1e-3)


@pytest.mark.slow
def test_a_resumed_run_remembers_a_loss_of_its_epoch_that_was_not_finite(tmp_path):
    def new_run():
        return run(on_nan="rollback", discriminator="selective", gan_mode="hinge", epochs=3)

    def overflowing_run():
        """Return a run whose loss is not finite in the first step of its second epoch."""
        compressor, epochs = new_run(), []
        cooperate = compressor.cooperate

        def overflowing(first, second):
            losses = cooperate(first, second)
            epochs.append(compressor.epoch)
            if epochs[-1] == 2 and epochs.count(2) == 1:
                losses["student"]["G"] = torch.tensor(torch.inf)
            return losses

        compressor.cooperate = overflowing
        return compressor

    whole, stopped, resumed = overflowing_run(), overflowing_run(), new_run()
    warnings = [step.warnings for step in whole.steps() if step.warnings]
    assert len(warnings) == 1
    Checkpoints(tmp_path).save(
        next(stopped.checkpoint(step) for step in stopped.steps() if (step.phase, step.epoch) == ("train", 2) and not step.ends_epoch)
    )
    resumed.resume(Checkpoints(tmp_path).newest())
    assert [step.warnings for step in resumed.steps() if step.warnings] == warnings
    expected, weights = (snapshots(compressor.student.generators)["G"] for compressor in (whole, resumed))
    assert all(torch.equal(weights[key], value) for key, value in expected.items())


def test_the_start_of_training_is_the_last_good_state_if_there_is_no_other():
    compressor = run(on_nan="rollback", discriminator="selective", gan_mode="hinge", lr_g=2e-3, lr_d=5e-4, epochs=3)
    warned, start = [], None
    for step in compressor.steps():
        if step.phase != "train":
            continue
        if start is None:
            start = copy.deepcopy(compressor.collapse.state_dict()["last_good_state"]["pairs"]["student"]["networks"]["generators"]["G"])
            with torch.no_grad():
                next(compressor.student.generators["G"].parameters()).fill_(torch.nan)
        if step.warnings:
            warned.append(step.epoch)
            now = compressor.student.generators["G"].state_dict()
            assert all(torch.equal(value, start[key]) for key, value in now.items())
    assert warned == [1]


@pytest.mark.slow
def test_an_epoch_that_was_rolled_back_is_not_evaluated():
    compressor = run(on_collapse="rollback", epochs=20, evaluate_every=1)
    epochs = {}
    with pytest.raises(TrainingError):
        for step in compressor.steps():
            if step.ends_epoch and step.phase == "train":
                epochs[step.epoch] = bool(step.metrics), bool(step.warnings)
    assert all(evaluated != warned for evaluated, warned in epochs.values()) and any(warned for _, warned in epochs.values())


def test_spread():
    assert evenly_spaced(4, 4) == [0, 1, 2, 3] and evenly_spaced(2, 9) == [0, 4]


def test_a_skipped_image_is_never_read(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        for number in range(4):
            Image.new("RGB", (64, 32), (60 * number, 9, 9)).save(tmp_path / split / f"{number}.png")
    (tmp_path / "test" / "0.png").write_bytes(b"no image")
    compressor = Compressor(Teacher.create("pix2pix"), tmp_path, skip_bad=True, **TINY["pix2pix"] | {"batch_size": 2})
    assert compressor.run().grid


class Epochs:
    """A state that is the number of an epoch."""

    epoch = 0

    def state_dict(self):
        return {"epoch": self.epoch}


def test_ranks_that_see_different_signs_roll_back_to_the_same_epoch():
    sent = []

    def policy_of(broadcast, diversities):
        """Return the policy of one rank, which sees these diversities epoch by epoch."""
        context = SimpleNamespace(
            recipe=Recipe(size=32, epochs=10),
            architecture=SimpleNamespace(discriminators=["D"]),
            config=SimpleNamespace(on_collapse="rollback", on_nan="stop"),
            ranks=SimpleNamespace(broadcast_object=broadcast),
        )
        policy = CollapsePolicy(context, {"student": SimpleNamespace(trains=True)}, trained)
        values = iter(diversities)
        policy._diversity = lambda pair: Diversity(next(values), 0.4)
        return policy

    trained = Epochs()
    main = policy_of(lambda value: sent.append(value) or value, [0.8, 0.101])
    other = policy_of(lambda value: sent.pop(0), [0.8, 0.099])
    for epoch in (1, 2):
        trained.epoch = epoch
        for policy in (main, other):
            policy.after_epoch(epoch, (0, []))
    assert not other.detector.is_calm
    assert main.state_dict()["last_good_state"] == other.state_dict()["last_good_state"] == {"epoch": 2}


def test_test_images_do_not_steer_training():
    def sources(validates):
        compressor = run(on_collapse="rollback", epochs=2)
        data, seen = compressor.context.data, []
        if not validates:
            data.validation = None
        for name in ("train", "validation", "test"):
            if source := getattr(data, name):
                source.preview = lambda index, name=name, source=source: seen.append(name) or source.sample(index, None)
        for _ in compressor.steps():
            pass
        return set(seen)

    assert sources(True) == {"validation"} and sources(False) == {"train"}


@pytest.mark.slow
@pytest.mark.parametrize("stops", [False, True])
def test_after_a_rollback_in_the_last_epoch_the_result_names_the_epoch_of_its_weights(stops):
    settings = {"on_nan": "rollback", "discriminator": "selective", "gan_mode": "hinge", "lr_g": 2e-3, "lr_d": 5e-4, "epochs": 3}
    compressor, states, checkpoint = run(evaluate_every=1, **settings), {}, {}
    for step in compressor.steps():
        if step.phase == "train" and step.ends_epoch:
            states[step.epoch] = snapshots(compressor.student.generators)["G"]
            if step.epoch == 2:
                with torch.no_grad():
                    next(compressor.student.generators["G"].parameters()).fill_(torch.nan)
            if step.epoch == 3:
                assert "rolled back" in step.warnings["student"]
                checkpoint = copy.deepcopy(compressor.checkpoint(step))
    if stops:
        compressor = run(evaluate_every=1, **settings)
        compressor.resume(checkpoint)
        assert not list(compressor.steps())
    for pair in compressor.result().roles.values():
        report = pair.last.generators["G"]
        assert report.epoch == 2 and report.epoch_note == "last"
    saved = report.network.state_dict()
    assert all(torch.equal(saved[key].cpu(), value) for key, value in states[2].items())
    assert all(torch.equal(states[3][key], value) for key, value in states[2].items())

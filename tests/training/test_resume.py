"""A run that is stopped and resumed ends as one that never was."""

import pytest
import torch

from gcc import Compressor, Teacher
from gcc.errors import RunError
from gcc.training.checkpoint import Checkpoints
from gcc.training.loss_tree import flattened
from gcc.training.teacher_trainer import Trainer
from tests.helpers.families import TINY

pytestmark = pytest.mark.usefixtures("small_worlds")
# Two batches in an epoch: stops within epochs and between them, in every phase.
EVERY_PHASE = {"epochs": 2, "lr_alpha": 0.3}


def begun(arch, kind=Compressor, **settings):
    return kind(Teacher.create(arch), **TINY[arch] | EVERY_PHASE | settings)


def state(run):
    return {
        f"{side}.{kind}.{name}.{key}": value.clone()
        for side, player in run.pairs.items()
        for kind, networks in {"G": player.generators, "D": player.discriminators}.items()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def finished(run):
    """Return the end of a run: its state, its widths, and the losses of each iteration."""
    losses = {}
    for step in run.steps():
        losses[step.phase, step.number] = {name: float(loss) for name, loss in flattened(step.losses).items()}
    return state(run), losses


def stopped(run, after, folder):
    """Stop a run after so many iterations and leave its checkpoint."""
    for number, step in enumerate(run.steps(), 1):
        if number == after:
            Checkpoints(folder).save(run.checkpoint(step))
            return
    raise AssertionError("the run was over before")


def assert_equal(resumed, whole):
    state_resumed, losses_resumed = resumed
    state_whole, losses_whole = whole
    assert state_resumed.keys() == state_whole.keys()
    assert all(torch.equal(value, state_whole[key]) for key, value in state_resumed.items())
    assert losses_resumed == {key: losses_whole[key] for key in losses_resumed}


@pytest.mark.parametrize("arch", TINY)
def test_a_run_that_is_stopped_anywhere_and_resumed_ends_bit_equal(arch, tmp_path):
    whole = finished(begun(arch))
    total = len(whole[1])
    for after in (total // 2, total - 1):
        stopped(begun(arch), after, tmp_path / str(after))
        again = begun(arch)
        # What resumes must not draw on what a process of its own would not have.
        torch.manual_seed(after)
        again.resume(Checkpoints(tmp_path / str(after)).newest())
        resumed = finished(again)
        assert len(resumed[1]) == total - after
        assert_equal(resumed, whole)


@pytest.mark.parametrize(
    "settings",
    [{"pool_size": 3}, {"generator": "resnet", "n_blocks": 1, "dropout": 0.5}, {"discriminator": "full"}, {"update_order": "DG"}],
    ids=str,
)
def test_pools_dropout_and_every_kind_of_student_are_resumed(settings, tmp_path):
    whole = finished(begun("pix2pix", **settings))
    stopped(begun("pix2pix", **settings), len(whole[1]) - 3, tmp_path)
    again = begun("pix2pix", **settings)
    again.resume(Checkpoints(tmp_path).newest())
    assert_equal(finished(again), whole)


def test_a_teachers_own_training_is_resumed(tmp_path):
    whole = finished(begun("srgan", Trainer))
    stopped(begun("srgan", Trainer), 3, tmp_path)
    again = begun("srgan", Trainer)
    again.resume(Checkpoints(tmp_path).newest())
    assert_equal(finished(again), whole)


def test_workers_and_steps_of_other_numbers_change_nothing(tmp_path):
    whole = finished(begun("pix2pix"))
    stopped(begun("pix2pix", workers=2), 5, tmp_path)
    again = begun("pix2pix", workers=1)
    again.resume(Checkpoints(tmp_path).newest())
    assert_equal(finished(again), whole)


def test_the_best_epoch_is_remembered(tmp_path):
    settings = {"evaluators": "l1", "epochs": 3}
    run = begun("pix2pix", **settings)
    total = len(list(run.steps()))
    stopped(begun("pix2pix", **settings), total - 1, tmp_path)
    again = begun("pix2pix", **settings)
    again.resume(Checkpoints(tmp_path).newest())
    for _ in again.steps():
        pass
    assert run.best.best.keys() == {"teacher", "student"}
    for side, kept in run.best.best.items():
        other = again.best.best[side]
        assert (kept.epoch, kept.metric) == (other.epoch, other.metric)
        assert all(torch.equal(value, other.generators["G"][key]) for key, value in kept.generators["G"].items())


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"tau": 0.3}, "another recipe: tau was .* and is 0.3"), ({"lr_g": 1e-5, "epochs": 3}, "epochs was 2 and is 3; lr_g was")],
    ids=["tau", "two"],
)
def test_another_recipe_is_refused_with_the_fields_that_differ(settings, told, tmp_path):
    stopped(begun("pix2pix"), 1, tmp_path)
    with pytest.raises(RunError, match=told):
        begun("pix2pix", **settings).resume(Checkpoints(tmp_path).newest())


def test_a_checkpoint_that_was_tampered_with_is_refused(tmp_path):
    stopped(begun("pix2pix"), 1, tmp_path)
    snapshot = Checkpoints(tmp_path).newest()
    with pytest.raises(RunError, match=r"another version \(checkpoint format 0, expected 3\)"):
        begun("pix2pix").resume(snapshot | {"format": 0})
    networks = snapshot["state"]["pairs"]["search"]["networks"]["generators"]["G"]
    networks["down1.conv.weight"] = torch.zeros(1)
    again = begun("pix2pix")
    again.resume(snapshot)
    with pytest.raises(RunError, match="does not fit the run"):
        next(again.steps())


def test_another_family_and_other_data_are_refused(tmp_path):
    stopped(begun("pix2pix"), 1, tmp_path)
    snapshot = Checkpoints(tmp_path).newest()
    with pytest.raises(RunError, match="trains pix2pix, not cyclegan"):
        begun("cyclegan").resume(snapshot)
    with pytest.raises(RunError, match="trains on 41 samples, and 40 are there now"):
        begun("pix2pix").resume(snapshot | {"samples": 41})

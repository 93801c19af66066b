"""A run that is stopped and resumed ends like one that was never stopped."""

import pytest
import torch

from gcc import Compressor, Teacher
from gcc.errors import RunError
from gcc.training.checkpoint import Checkpoints
from gcc.training.loss_tree import flattened
from gcc.training.teacher_trainer import Trainer
from tests.helpers.custom_toys import CUSTOM, settings_of
from tests.helpers.families import TINY

# Two batches in an epoch: stops within epochs and between them, in every phase.
EVERY_PHASE = {"epochs": 2, "lr_alpha": 0.3}


def new_run(arch, kind=Compressor, **settings):
    return kind(Teacher.create(arch), **TINY[arch] | EVERY_PHASE | settings)


def state(run):
    return {
        f"{role}.{kind}.{name}.{key}": value.clone()
        for role, pair in run.pairs.items()
        for kind, networks in pair.networks.items()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def finished(run):
    """Train to the end, and return the state of the run and the losses of each step."""
    losses = {}
    for step in run.steps():
        losses[step.phase, step.number] = {name: float(loss) for name, loss in flattened(step.losses).items()}
    return state(run), losses


def stopped(run, after, folder):
    """Stop a run after some steps, and save its checkpoint."""
    for number, step in enumerate(run.steps(), 1):
        if number == after:
            Checkpoints(folder).save(run.checkpoint(step))
            return
    raise AssertionError("the run ended before")


def assert_equal(resumed, whole):
    state_resumed, losses_resumed = resumed
    state_whole, losses_whole = whole
    assert state_resumed.keys() == state_whole.keys()
    assert all(torch.equal(value, state_whole[key]) for key, value in state_resumed.items())
    assert losses_resumed == {key: losses_whole[key] for key in losses_resumed}


@pytest.mark.slow
@pytest.mark.parametrize("arch", TINY)
def test_a_run_that_is_stopped_anywhere_and_resumed_ends_bit_equal(arch, tmp_path):
    whole = finished(new_run(arch))
    total = len(whole[1])
    for after in (total // 2, total - 1):
        stopped(new_run(arch), after, tmp_path / str(after))
        resumed_run = new_run(arch)
        # A resumed run must not depend on the random state of this process.
        torch.manual_seed(after)
        resumed_run.resume(Checkpoints(tmp_path / str(after)).newest())
        resumed = finished(resumed_run)
        assert len(resumed[1]) == total - after
        assert_equal(resumed, whole)


@pytest.mark.parametrize(
    "settings",
    [
        {"pool_size": 3},
        {"generator": "resnet", "n_blocks": 1, "dropout": 0.5},
        {"discriminator": "full"},
        {"update_order": "DG", "ema_decay": 0.9},
    ],
    ids=str,
)
def test_pools_dropout_averages_and_every_kind_of_student_are_resumed(settings, tmp_path):
    whole = finished(new_run("pix2pix", **settings))
    stopped(new_run("pix2pix", **settings), len(whole[1]) - 3, tmp_path)
    resumed_run = new_run("pix2pix", **settings)
    resumed_run.resume(Checkpoints(tmp_path).newest())
    assert_equal(finished(resumed_run), whole)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["paired", "super-resolution"])
def test_a_generator_of_ones_own_is_resumed(task, tmp_path):
    def new():
        torch.manual_seed(0)
        settings = settings_of(task) | {"epochs": 2}
        return Compressor(generator=CUSTOM[task][0](), task=task, data=CUSTOM[task][2], device="cpu", **settings)

    whole = finished(new())
    for after in (2, len(whole[1]) - 3):
        stopped(new(), after, tmp_path / str(after))
        resumed_run = new()
        resumed_run.resume(Checkpoints(tmp_path / str(after)).newest())
        assert_equal(finished(resumed_run), whole)


def test_other_weights_of_the_teacher_are_refused_by_the_name_of_their_file(tmp_path):
    def new(seed, file=None):
        torch.manual_seed(seed)
        teacher = Teacher.of(CUSTOM["paired"][0](), "paired", file=file, **settings_of("paired"))
        return Compressor(teacher, CUSTOM["paired"][2], device="cpu", **settings_of("paired"))

    stopped(new(0), 1, tmp_path)
    new(0).resume(Checkpoints(tmp_path).newest())
    with pytest.raises(RunError, match=r"began with other weights of its teacher \(weights\.pth\): give it those"):
        new(1, "weights.pth").resume(Checkpoints(tmp_path).newest())


def test_the_training_of_a_teacher_is_resumed(tmp_path):
    whole = finished(new_run("srgan", Trainer))
    stopped(new_run("srgan", Trainer), 3, tmp_path)
    resumed_run = new_run("srgan", Trainer)
    resumed_run.resume(Checkpoints(tmp_path).newest())
    assert_equal(finished(resumed_run), whole)


def test_the_number_of_workers_changes_nothing(tmp_path):
    whole = finished(new_run("pix2pix"))
    stopped(new_run("pix2pix", workers=2), 5, tmp_path)
    resumed_run = new_run("pix2pix", workers=1)
    resumed_run.resume(Checkpoints(tmp_path).newest())
    assert_equal(finished(resumed_run), whole)


def test_the_best_epoch_is_resumed(tmp_path):
    settings = {"evaluators": "l1", "epochs": 3}
    run = new_run("pix2pix", **settings)
    total = len(list(run.steps()))
    stopped(new_run("pix2pix", **settings), total - 1, tmp_path)
    resumed_run = new_run("pix2pix", **settings)
    resumed_run.resume(Checkpoints(tmp_path).newest())
    for _ in resumed_run.steps():
        pass
    assert run.best.best.keys() == {"teacher", "student"}
    for role, best in run.best.best.items():
        other = resumed_run.best.best[role]
        assert (best.epoch, best.metric) == (other.epoch, other.metric)
        assert all(torch.equal(value, other.generators["G"][key]) for key, value in best.generators["G"].items())


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"tau": 0.3}, "another recipe: tau was .* and is 0.3"), ({"lr_g": 1e-5, "epochs": 3}, "epochs was 2 and is 3; lr_g was")],
    ids=["tau", "two"],
)
def test_another_recipe_is_refused_with_the_fields_that_differ(settings, message, tmp_path):
    stopped(new_run("pix2pix"), 1, tmp_path)
    with pytest.raises(RunError, match=message):
        new_run("pix2pix", **settings).resume(Checkpoints(tmp_path).newest())


def test_a_checkpoint_that_was_tampered_with_is_refused(tmp_path):
    stopped(new_run("pix2pix"), 1, tmp_path)
    checkpoint = Checkpoints(tmp_path).newest()
    with pytest.raises(RunError, match=r"another version \(checkpoint format 0, expected 4\)"):
        new_run("pix2pix").resume(checkpoint | {"format": 0})
    networks = checkpoint["state"]["pairs"]["search"]["networks"]["generators"]["G"]
    networks["down1.conv.weight"] = torch.zeros(1)
    resumed_run = new_run("pix2pix")
    resumed_run.resume(checkpoint)
    with pytest.raises(RunError, match="does not fit the run"):
        next(resumed_run.steps())


def test_another_family_and_other_data_are_refused(tmp_path):
    stopped(new_run("pix2pix"), 1, tmp_path)
    checkpoint = Checkpoints(tmp_path).newest()
    with pytest.raises(RunError, match="trains pix2pix, not cyclegan"):
        new_run("cyclegan").resume(checkpoint)
    with pytest.raises(RunError, match="trains on 17 samples, and 16 are there now"):
        new_run("pix2pix").resume(checkpoint | {"samples": 17})
    layers = checkpoint["state"]["layers"] | {"generators": {"G": ["down1.act"]}}
    with pytest.raises(RunError, match="distils other layers"):
        new_run("pix2pix").resume(checkpoint | {"state": checkpoint["state"] | {"layers": layers}})


@pytest.mark.parametrize("seconds", [-1.0, float("inf")], ids=["every step", "every epoch"])
@pytest.mark.parametrize("after", [3, 4])
def test_the_history_goes_on_where_it_stopped(after, seconds, tmp_path, monkeypatch):
    monkeypatch.setattr("gcc.training.history.SECONDS", seconds)
    whole, resumed = new_run("pix2pix"), new_run("pix2pix")
    finished(whole)
    stopped(new_run("pix2pix"), after, tmp_path)
    resumed.resume(Checkpoints(tmp_path).newest())
    finished(resumed)
    assert resumed.history.lines == whole.history.lines == list(resumed.result().history)
    assert whole.history.lines[0]["phase"] == "search" and any("val/student/G/psnr" in line for line in whole.history.lines)


def test_a_checkpoint_of_an_earlier_version_is_resumed_without_what_it_lacks(tmp_path):
    stopped(new_run("pix2pix"), 3, tmp_path)
    resumed = new_run("pix2pix")
    resumed.resume({name: value for name, value in Checkpoints(tmp_path).newest().items() if name not in ("history", "finite")})
    finished(resumed)
    assert {line["phase"] for line in resumed.history.lines} == {"train"}


def test_another_range_of_values_is_refused_by_its_name(tmp_path):
    def new(value_range):
        torch.manual_seed(0)
        teacher = Teacher.of(CUSTOM["paired"][0](), "paired", value_range=value_range, **settings_of("paired"))
        return Compressor(teacher, CUSTOM["paired"][2], device="cpu", **settings_of("paired"))

    stopped(new("0..1"), 1, tmp_path)
    new("0..1").resume(Checkpoints(tmp_path).newest())
    with pytest.raises(RunError, match=r"began with value_range = \[0.0, 1.0\], not \[0.0, 255.0\]: give it that"):
        new("0..255").resume(Checkpoints(tmp_path).newest())

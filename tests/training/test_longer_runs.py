"""Runs that go on for more epochs, runs of a number of steps, and students that are trained further."""

import json

import pytest
import torch
from click.testing import CliRunner

from gcc import Compressor, GccError, Teacher, Trainer, load
from gcc.artifacts.model import read
from gcc.artifacts.run_folder import FINAL_STATE
from gcc.cli import main
from gcc.errors import ArtifactError, RecipeError, RunError
from gcc.training.checkpoint import Checkpoints
from gcc.training.loss_tree import flattened
from gcc.training.plan import longer_run
from tests.helpers.families import TINY

PIX2PIX = TINY["pix2pix"]
# Nothing in these recipes depends on the number of epochs, once the search is over: PIX2PIX gives lr_alpha, so that it is not raised.
SAME_FOR_ANY_LENGTH = {"lambda_global": 0.0, "decay_fraction": 0.0}


def compressor(teacher=None, **settings):
    return Compressor(teacher or Teacher.create("pix2pix"), **PIX2PIX | settings)


def networks(run):
    return {
        f"{role}.{kind}.{name}.{key}": value.clone()
        for role, pair in run.pairs.items()
        for kind, group in {"G": pair.generators, "D": pair.discriminators}.items()
        for name, network in group.items()
        for key, value in network.state_dict().items()
    }


def finished(run):
    """Train to the end, and return the networks and the losses of each step."""
    losses = {}
    for step in run.steps():
        # L_target depends on the length of the run, even if no loss reads it.
        values = {name: float(loss) for name, loss in flattened(step.losses).items() if not name.startswith("target/")}
        losses[step.phase, step.number] = values
    return networks(run), losses


def last_state(run, folder):
    """Train to the end, and return the checkpoint of the last step, as read from the disk."""
    for step in run.steps():
        last = step
    Checkpoints(folder).save(run.checkpoint(last))
    return Checkpoints(folder).newest()


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Compressor, Trainer])
def test_a_finished_run_goes_on_like_a_longer_one_if_nothing_depends_on_the_length(kind, tmp_path):
    settings = PIX2PIX | SAME_FOR_ANY_LENGTH
    long, losses = finished(kind(Teacher.create("pix2pix"), **settings | {"epochs": 4}))
    run = kind(Teacher.create("pix2pix"), **settings | {"epochs": 4})
    run.resume(last_state(kind(Teacher.create("pix2pix"), **settings | {"epochs": 2}), tmp_path))
    networks_resumed, losses_resumed = finished(run)
    assert [number for _, number in losses_resumed] == [5, 6, 7, 8]
    assert equal(networks_resumed, long) and losses_resumed == {key: losses[key] for key in losses_resumed}


@pytest.mark.parametrize(("reach", "same"), [(0.0, True), (0.05, False)])
def test_without_lr_alpha_the_rate_of_the_retention_factors_depends_on_the_length_unless_it_is_never_raised(reach, same, tmp_path):
    own = {name: value for name, value in PIX2PIX.items() if name != "lr_alpha"} | SAME_FOR_ANY_LENGTH | {"alpha_reach": reach}

    def run(epochs):
        return Compressor(Teacher.create("pix2pix"), **own | {"epochs": epochs})

    state = last_state(run(2), tmp_path)
    resumed, whole = run(4), run(4)
    resumed.resume(state)
    assert equal(finished(resumed)[0], finished(whole)[0]) == same
    # Two steps in an epoch, and no decay before epoch 100.
    rate = whole.recipe.lr_alpha if same else reach * (1 - whole.recipe.tau) / 8
    assert resumed.student.optimizer_alpha.optimizer.param_groups[0]["lr"] == pytest.approx(rate)
    assert ("also of the retention factors, by alpha_reach" in longer_run((longer := run(4)).recipe, longer.result_widths, state)) != same


def test_the_remaining_epochs_have_the_learning_rates_and_beta_of_the_longer_run(tmp_path, monkeypatch):
    state = last_state(compressor(epochs=2, decay_fraction=0.5), tmp_path)
    run = compressor(epochs=6, decay_fraction=0.5)
    run.resume(state)
    targets, rates = [float(state["state"]["targets"]["D"]["value"])], []
    for step in run.steps():
        new, target = float(step.losses["teacher"]["imbalance"]["D"]), float(step.losses["target"]["D"])
        beta = step.epoch / 6
        targets.append(beta * targets[-1] + (1 - beta) * new)
        assert target == pytest.approx(targets[-1], rel=1e-5)
        rates.append((step.epoch, run.student.optimizer_G.optimizer.param_groups[0]["lr"] / run.recipe.lr_g))
    # Two steps in an epoch; the last three of six epochs decay to 3/4, 2/4 and 1/4.
    expected = [(3, 1.0)] * 2 + [(4, 0.75)] * 2 + [(5, 0.5)] * 2 + [(6, 0.25)] * 2
    assert [epoch for epoch, _ in rates] == [epoch for epoch, _ in expected]
    assert [rate for _, rate in rates] == pytest.approx([rate for _, rate in expected])


def test_a_run_that_went_on_and_was_stopped_ends_bit_equal(tmp_path):
    state = last_state(compressor(epochs=2), tmp_path / "first")
    whole = compressor(epochs=4)
    whole.resume(state)
    stopped = compressor(epochs=4)
    stopped.resume(state)
    for step in stopped.steps():
        if step.number == 7:
            Checkpoints(tmp_path / "second").save(stopped.checkpoint(step))
            break
    resumed = compressor(epochs=4)
    resumed.resume(Checkpoints(tmp_path / "second").newest())
    assert equal(finished(resumed)[0], finished(whole)[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1}, r"is longer \(epochs was 2 and is 1\): a run may only grow, so give at least "),
        ({"epochs": 4, "tau": 0.25}, "another recipe: epochs was 2 and is 4; tau was 0.5 and is 0.25"),
    ],
)
def test_fewer_epochs_and_other_changes_are_refused(settings, message, tmp_path):
    state = last_state(compressor(epochs=2), tmp_path)
    with pytest.raises(RunError, match=message):
        compressor(**settings).resume(state)


def test_a_finished_run_keeps_its_last_state_unless_it_may_not(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save({"number": 1})
    checkpoints.save({"number": 2})
    checkpoints.finish()
    assert not checkpoints.folder.exists() and not checkpoints.is_empty
    assert checkpoints.newest() == {"number": 2}
    checkpoints.save({"number": 3})
    assert checkpoints.newest() == {"number": 3}
    checkpoints.finish()
    assert checkpoints.newest() == {"number": 3}
    none = Checkpoints(tmp_path, keep=0)
    none.save({"number": 4})
    none.finish()
    assert none.is_empty and none.newest() == {} and not (tmp_path / FINAL_STATE).exists()


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_a_run_ends_after_exactly_as_many_steps(steps):
    trainer = Trainer(Teacher.create("pix2pix"), **{name: value for name, value in PIX2PIX.items() if name != "epochs"}, steps=steps)
    taken = list(trainer.steps())
    # Two steps in an epoch.
    assert trainer.recipe.epochs == -(-steps // 2)
    assert [step.number for step in taken] == [*range(1, steps + 1)] and {step.total for step in taken} == {steps}
    assert [step.number for step in taken if step.ends_epoch] == sorted({*range(2, steps + 1, 2), steps})
    assert trainer.plan()["training"].startswith(f"{steps} step{'s' if steps > 1 else ''}, in epochs of 2, batches of")


@pytest.mark.slow
def test_the_first_step_has_at_most_a_tenth_of_the_steps():
    settings = {name: value for name, value in PIX2PIX.items() if name != "epochs"}
    counts = {}
    run = Compressor(Teacher.create("pix2pix"), **settings, steps=39)
    assert (run.recipe.epochs, run.recipe.search_epochs, run.recipe.search_steps) == (20, 2, 3)
    for step in run.steps():
        counts[step.phase] = counts.get(step.phase, 0) + 1
    assert counts == {"search": 3, "train": 39}


def test_as_many_steps_as_whole_epochs_take_train_like_the_epochs():
    settings = {name: value for name, value in PIX2PIX.items() if name != "epochs"}
    by_steps = Trainer(Teacher.create("pix2pix"), **settings, steps=4)
    by_epochs = Trainer(Teacher.create("pix2pix"), **settings, epochs=2)
    assert equal(finished(by_steps)[0], finished(by_epochs)[0])


def test_a_run_of_steps_is_resumed_and_goes_on_for_more(tmp_path):
    settings = {name: value for name, value in PIX2PIX.items() if name != "epochs"} | SAME_FOR_ANY_LENGTH

    def trainer(steps):
        return Trainer(Teacher.create("pix2pix"), **settings, steps=steps)

    whole = finished(trainer(5))
    stopped = trainer(5)
    for step in stopped.steps():
        if step.number == 3:
            Checkpoints(tmp_path / "stopped").save(stopped.checkpoint(step))
            break
    resumed = trainer(5)
    resumed.resume(Checkpoints(tmp_path / "stopped").newest())
    assert equal(finished(resumed)[0], whole[0])
    longer = trainer(5)
    # It ended in the middle of its second epoch.
    longer.resume(last_state(trainer(3), tmp_path / "short"))
    assert equal(finished(longer)[0], whole[0])
    with pytest.raises(RunError, match=r"is longer \("):
        trainer(4).resume(Checkpoints(tmp_path / "stopped").newest())


def test_epochs_and_steps_exclude_each_other(tmp_path):
    with pytest.raises(RecipeError, match="`epochs` and `steps` exclude each other"):
        compressor(steps=3)
    teacher = Teacher.create("pix2pix", steps=3)
    assert teacher.demo_architecture({"epochs": 5}).recipe.steps is None
    assert Teacher.create("pix2pix", epochs=5).demo_architecture({"steps": 3}).recipe.steps == 3
    for command in ("train", "compress", "ablate"):
        result = CliRunner().invoke(main, [command, "--arch", "pix2pix", "--epochs", "2", "--steps", "3"])
        assert "--epochs and --steps exclude each other" in result.stderr


@pytest.fixture(scope="module")
def saved_student(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    compressor(epochs=1).run().save(folder)
    return folder / "student"


def test_a_student_is_trained_further_from_its_widths_and_weights_alone(saved_student):
    run, new = compressor(student=saved_student, seed=3), compressor(widths=saved_student, seed=3)
    assert run.plan()["student"] == f"{saved_student}, trained further"
    steps = run.steps()
    stages = run.stages()
    assert next(stages).phase == "train"
    next(new.stages())
    saved = load(saved_student).state_dict()
    assert equal(run.student.generators["G"].state_dict(), saved)
    assert run.widths == {"G": read(saved_student)["G"].widths}
    assert not run.student.optimizer_G.optimizer.state
    # All else is as in a run that takes the widths alone.
    for group in ("discriminators", "projections"):
        assert equal(
            getattr(run.student, group)[next(iter(getattr(run.student, group)))].state_dict(),
            getattr(new.student, group)[next(iter(getattr(new.student, group)))].state_dict(),
        )
    assert equal(run.teacher.generators["G"].state_dict(), new.teacher.generators["G"].state_dict())
    assert {step.phase for step in steps} == {"train"}
    assert not equal(run.student.generators["G"].state_dict(), saved)


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"widths": "elsewhere"}, GccError, "leave out `widths` or `student`"),
        ({"direction": "BtoA"}, ArtifactError, "was trained in direction AtoB, and this run trains in direction BtoA"),
        ({"norm": "instance", "metric": "l1"}, ArtifactError, "the student in .* does not fit this run's recipe"),
        ({"size": 64}, ArtifactError, "contains no widths for this pix2pix's generator G: expected down1, .*, down6"),
    ],
)
def test_a_student_that_does_not_fit_is_refused(settings, error, message, saved_student):
    with pytest.raises(error, match=message):
        compressor(student=saved_student, **settings).check()
    with pytest.raises(GccError, match="leave out widths and student"):
        Trainer(Teacher.create("pix2pix"), student=saved_student)


@pytest.mark.slow
def test_a_pretrained_student_is_not_pre_trained(tmp_path):
    Compressor(Teacher.create("srgan"), **TINY["srgan"] | {"epochs": 1}).run().save(tmp_path)
    run = Compressor(Teacher.create("srgan"), student=tmp_path / "student", **TINY["srgan"] | {"epochs": 1})
    pretrained = [set(flattened(step.losses)) for step in run.steps() if step.phase == "pretrain"]
    assert pretrained and all(losses == {"teacher/pixel"} for losses in pretrained)
    both = Compressor(Teacher.load(tmp_path / "teacher"), student=tmp_path / "student", epochs=1)
    assert {step.phase for step in both.steps()} == {"train"} and both.plan()["training"].startswith("1 epoch of")


@pytest.mark.slow
def test_the_command_line_goes_on_and_trains_a_student_further(tmp_path):
    def run(*arguments):
        return CliRunner().invoke(main, [*map(str, arguments)])

    settings = [f"--set={name}={value}" for name, value in PIX2PIX.items() if name != "epochs"]
    out = tmp_path / "run"
    first = run("compress", "--arch", "pix2pix", *settings, "--epochs", 2, "--out", out)
    assert first.exit_code == 0, first.output
    assert (out / FINAL_STATE).is_file()
    assert (
        "is finished: there is nothing to resume; to train it further, give more --epochs or --steps"
        in run("compress", "--resume", out).output
    )
    again = run("compress", "--resume", out, "--epochs", 4)
    assert again.exit_code == 0, again.output
    text = " ".join(again.output.split())
    assert "epochs was 2 and is 4; from now on, learning rates and beta = epoch / epochs (Eq. III) are those of a run of 4 epochs" in text
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records if record["phase"] == "train" and "student/G" in record] == [1, 2, 3, 4]
    assert read(out / "student")["G"].recipe.epochs == 4
    by_steps = run("compress", "--resume", out, "--steps", 9)
    assert by_steps.exit_code == 0, by_steps.output
    assert read(out / "student")["G"].recipe.steps == 9
    fewer = run("compress", "--resume", out, "--epochs", 3)
    assert "contains a longer run (the length was 9 steps and is 3 epochs): a run may only grow, so give at least 9 steps" in fewer.stderr
    (out / FINAL_STATE).unlink()
    lost = run("compress", "--resume", out, "--epochs", 9)
    assert f"its last state was not kept; train its student further with --student {out / 'student'}" in lost.stderr
    own_widths = [setting for setting in settings if not setting.startswith("--set=budget=")]
    student = run("compress", "--arch", "pix2pix", *own_widths, "--epochs", 1, "--student", out / "student", "--out", tmp_path / "next")
    assert student.exit_code == 0, student.output
    typed = run("compress", "--arch", "pix2pix", *settings, "--budget", "10%", "--student", out / "student")
    assert "--budget and --student exclude each other: the saved student has its own widths" in typed.stderr
    own = run("compress", "--arch", "pix2pix", *own_widths, "--student", out / "student", "--out", out, "--force")
    assert "which this run reads" in own.stderr

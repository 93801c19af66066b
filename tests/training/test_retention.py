"""The learning rate of the retention factors: published in long runs, raised in short ones, so that channels can close."""

import pytest

from gcc import Compressor, Teacher
from gcc.registry import ARCHITECTURES
from gcc.report.html import save_report
from gcc.report.run_record import read_run
from tests.helpers.families import TINY
from tests.helpers.run_folders import append, begun_run, full_run


def compressor(**settings):
    return Compressor(Teacher.create("pix2pix"), **TINY["pix2pix"] | settings)


def test_a_short_run_warns_that_no_channel_can_close_and_says_the_value_that_would_do():
    # 400 epochs of two steps, in which a factor must fall from 1 to tau = 0.5; the value lets it fall twelve times as far.
    length = {"epochs": 400, "alpha_decay_epochs": 400}
    warning = compressor(**length, lr_alpha=1e-5).plan()["warning"]
    assert "can fall by 0.008 and must" in warning and warning.endswith("; train longer, or `lr_alpha=0.0075`")
    assert "warning" not in compressor(**length, lr_alpha=0.0075).plan()
    # In two epochs, no reasonable value would do.
    warning = compressor(epochs=2, lr_alpha=1e-5).plan()["warning"]
    assert "can fall by 4e-05 and must" in warning and warning.endswith("; train longer")


def test_factors_that_never_change_are_named():
    warning = compressor(epochs=2, lr_alpha=0.0).plan()["warning"]
    assert "can fall by 0 and must" in warning and warning.endswith("; train longer")


def test_the_number_of_steps_that_a_short_run_is_told_suffices():
    warning = compressor(epochs=2, lr_alpha=0.01, alpha_decay_epochs=100).plan()["warning"]
    assert warning.endswith("; give at least 50 `steps`")
    assert "warning" not in compressor(epochs=25, lr_alpha=0.01, alpha_decay_epochs=100).plan()
    assert "warning" in compressor(epochs=24, lr_alpha=0.01, alpha_decay_epochs=100).plan()


def rate_of_alpha(**settings):
    """Return the learning rate of the retention factors in the first epoch, and the plan."""
    run = Compressor(Teacher.create("pix2pix"), **{name: value for name, value in TINY["pix2pix"].items() if name != "lr_alpha"} | settings)
    run.widths = run.reachable_widths()
    run.reinitialize()
    run.student.begin(1)
    return run.student.optimizer_alpha.optimizer.param_groups[0]["lr"], run.plan()


@pytest.mark.parametrize("reach", [3.0, 5.0])
def test_a_short_run_raises_lr_alpha_until_channels_can_close(reach):
    # 400 epochs of two steps; the rate falls to a tenth after every 100.
    settings = {"epochs": 400, "alpha_reach": reach, "lr_alpha": 1e-4}
    rate, plan = rate_of_alpha(**settings)
    assert rate == pytest.approx(reach * 0.5 / sum(2 * 0.1 ** (epoch // 100) for epoch in range(400)))
    assert f"{rate:.2g} instead of 0.0001, because the run is shorter than the published ones" in plan["lr_alpha"] and "warning" not in plan
    short, plan = rate_of_alpha(epochs=2, alpha_reach=reach, lr_alpha=1e-4)
    # It is never higher than 0.02, which cannot close a channel in four steps.
    assert short == 0.02 and "can fall by 0.08" in plan["warning"]


@pytest.mark.parametrize(
    "settings",
    [
        {"lr_alpha": 1e-4},
        {"lr_alpha": 1e-4, "alpha_reach": 0.0},
        {"epochs": 400, "alpha_reach": 3.0, "lr_alpha": 0.007},
        {"epochs": 400, "alpha_reach": 3.0, "lr_alpha": 0.3},
        {"tau": 1.0, "lr_alpha": 1e-5, "alpha_reach": 3.0},
    ],
)
def test_lr_alpha_stays_if_it_is_given_or_suffices(settings):
    rate, plan = rate_of_alpha(**settings)
    assert rate == settings["lr_alpha"] and "lr_alpha" not in plan


@pytest.mark.parametrize(
    ("arch", "published", "demo"), [("pix2pix", 2975, 400), ("cyclegan", 1067, 400), ("sagan", 202_599, 800), ("srgan", 82_783, 200)]
)
def test_published_recipes_and_demos_keep_their_lr_alpha(arch, published, demo):
    family = ARCHITECTURES.load(arch)
    for recipe, samples, reach in ((family.published(), published, 12), (family.demo(), demo, 0)):
        steps = samples // recipe.batch_size
        factors = [0.1 ** ((epoch - 1) // 100) for epoch in range(1, recipe.epochs + 1)]
        assert recipe.alpha_reach == reach and recipe.lr_alpha * steps * sum(factors) >= max(reach, 1) * (1 - recipe.tau)


def test_a_run_of_steps_that_ends_in_its_first_epoch_warns_that_the_target_stays():
    settings = {name: value for name, value in TINY["pix2pix"].items() if name != "epochs"}
    assert "L_target (Eq. II) keeps its first value" in Compressor(Teacher.create("pix2pix"), **settings, steps=2).plan()["warning"]
    assert "L_target" not in Compressor(Teacher.create("pix2pix"), **settings, steps=3).plan().get("warning", "")


def test_the_report_says_if_no_channel_ever_switched_off(tmp_path):
    assert not read_run(full_run(tmp_path / "full")).keeps_all_channels_on
    idle = begun_run(tmp_path / "idle")
    assert not read_run(idle).keeps_all_channels_on
    for step in (1, 2):
        append(idle, {"phase": "train", "epoch": 1, "step": step, "active/D.conv1.2": 1.0, "active/D.conv2.2": 1.0})
    assert read_run(idle).keeps_all_channels_on
    text = "No channel ever switched off in idle"
    assert text in save_report([idle]).read_text() and text in save_report([tmp_path / "full", idle], tmp_path / "both.html").read_text()
    assert text.partition(" in ")[0] not in save_report([tmp_path / "full"]).read_text()
    append(idle, {"phase": "train", "epoch": 1, "step": 3, "active/D.conv1.2": 1.0, "active/D.conv2.2": 0.75})
    assert not read_run(idle).keeps_all_channels_on

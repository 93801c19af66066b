"""Generators of one's own code on the command line."""

import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from gcc.cli import main
from gcc.report.cells import next_steps
from gcc.report.run_record import read_run
from gcc.training.session import Session

CODE = """
from torch import nn

class Generator(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1), nn.Tanh())

def trained():
    network = Generator()
    for parameter in network.parameters():
        parameter.data.fill_(0.1)
    return network
"""
SHORT = ("--size", "32", "--steps", "2", "--batch-size", "2", "--budget", "60%", "--set", "ndf=4", "--device", "cpu")


def run(*words):
    return CliRunner().invoke(main, [*map(str, words)], prog_name="gcc")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "typed_nets.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.slow
def test_code_that_a_file_names_is_not_imported(folder):
    typed = ("--generator", "typed_nets:Generator")
    ran = run("compress", *typed, "--task", "paired", "--example", "1x3x32x32", "--value-range", "-1..1", *SHORT, "--out", "run")
    assert ran.exit_code == 0, ran.output
    ran = run("compress", "--resume", "run")
    assert ran.exit_code != 0 and "give --generator typed_nets:Generator again" in ran.output
    ran = run("compress", "--resume", "run", *typed, "--steps", "3")
    assert ran.exit_code == 0, ran.output
    ran = run("inspect", "run/student")
    assert ran.exit_code != 0 and "code that a file names is not imported" in ran.output
    assert run("inspect", "run/student", *typed).exit_code == 0
    ran = run("compress", *typed, "--task", "paired", *SHORT[:6], "--set", "ndf=4", "--student", "run/student", "--out", "again")
    assert ran.exit_code == 0, ran.output


def test_hints_name_the_code_of_ones_own_generator_again(folder, monkeypatch):
    typed = ("--generator", "typed_nets:Generator", "--task", "paired", *(word for word in SHORT if word not in ("--budget", "60%")))
    follow = Session._follow
    monkeypatch.setattr(Session, "_follow", lambda session, step, _, clock: follow(session, step, lambda: signal.SIGINT, clock))
    ran = run("compress", *typed, "--budget", "60%", "--out", "run")
    again = "gcc compress --resume run --generator typed_nets:Generator"
    assert ran.exit_code == 130 and ran.stderr.endswith(f"continue with `{again}`\n"), ran.output
    assert [step.command for step in next_steps(read_run(Path("run")))] == [again]
    ran = run("compress", *typed, "--budget", "60%", "--out", "run")
    assert f"continue it with `{again}`" in ran.stderr, ran.output


@pytest.mark.slow
def test_next_steps_name_the_code_as_the_command_did(folder, monkeypatch):
    monkeypatch.setattr("gcc.artifacts.comparison.MAX_SPREAD", 0)
    typed = ("--generator", "typed_nets:Generator", "--task", "paired", *(word for word in SHORT if word not in ("--budget", "60%")))
    ran = run("sweep", *typed, "--budget", "60%", "--out", "swept")
    assert ran.exit_code == 0 and "MODULE:NAME" not in ran.output, ran.output
    assert "gcc evaluate swept/60%/student --generator typed_nets:Generator" in " ".join(ran.stdout.split())
    again = "gcc bench {0}/student --against {0}/teacher --generator typed_nets:Generator` measures again"
    assert again.format("swept/60%") in " ".join(ran.stdout.split())
    ran = run("compress", *typed, "--budget", "60%", "--out", "run")
    assert again.format("run") in " ".join(ran.stdout.split()), ran.output
    assert {"--generator typed_nets:Generator" in step.command for step in next_steps(read_run(Path("swept/60%")))} == {True}


def test_a_network_that_nobody_has_trained_is_no_teacher_as_given(folder):
    train = ("train", "--task", "paired", *(word for word in SHORT if word not in ("--budget", "60%")))
    ran = run(*train, "--generator", "typed_nets:Generator", "--out", "new")
    assert ran.exit_code == 0 and "teacher" in ran.output and "as given" not in ran.output, ran.output
    ran = run(*train, "--generator", "typed_nets:trained", "--out", "further")
    assert ran.exit_code == 0 and "teacher (as given)" in ran.output, ran.output
    # A class may take arguments, so what made the network is what readers are told to give.
    card = Path("further/teacher/README.md").read_text()
    assert "from typed_nets import trained\n" in card and 'load("path/to/this/folder", factory=trained)' in card


def test_a_network_that_nobody_has_trained_trains_along(folder):
    words = ("compress", "--task", "paired", *SHORT, "--dry-run")
    new = run(*words, "--generator", "typed_nets:Generator")
    assert new.exit_code == 0 and "stays as it is" not in new.output and "train_teacher = true" in new.output, new.output
    trained = run(*words, "--generator", "typed_nets:trained")
    assert trained.exit_code == 0 and "stays as it is, and no loss reads its discriminator" in trained.output, trained.output


@pytest.mark.slow
@pytest.mark.parametrize("words", [("sweep",), ("ablate", "--presets", "gcc", "--seeds", "1")], ids=" ".join)
def test_several_runs_are_resumed_with_the_code(folder, words):
    typed = ("--generator", "typed_nets:Generator")
    ran = run(*words, *typed, "--task", "paired", *SHORT, "--out", "runs")
    assert ran.exit_code == 0, ran.output
    ran = run(words[0], "--resume", "runs")
    assert ran.exit_code != 0 and "give --generator typed_nets:Generator again" in ran.output
    ran = run(words[0], "--resume", "runs", *typed)
    assert ran.exit_code == 0, ran.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--task", "paired"), "--task paired needs a generator"),
        (("--generator", "typed_nets:Generator"), "--generator needs --task NAME"),
        (("--generator", "typed_nets:Generator", "--task", "paired", "--arch", "srgan"), "--arch srgan is an architecture of its own"),
        (("--generator", "typed_nets:Generator", "--task", "paired", "--value-range", "1"), "expected the values of black and white"),
        (("--generator", "typed_nets:Generator", "--task", "noise", "--example", "2x3"), "expected the shape of one sample"),
        (("--generator", "typed_nets:Nothing", "--task", "paired"), "typed_nets has no Nothing"),
    ],
)
def test_options_that_do_not_fit_are_refused(folder, words, message):
    ran = run("compress", *words)
    assert ran.exit_code != 0 and message in ran.output, ran.output

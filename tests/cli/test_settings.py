"""Options merged with the other sources of recipe fields, and the command that they make."""

import json
import shlex

import pytest
from click.testing import CliRunner

from gcc.artifacts.run_folder import COMMAND_FILE
from gcc.cli import main
from gcc.cli.run import _fields_of_run
from gcc.cli.settings import command_line, teacher_and_settings
from gcc.errors import GccError
from gcc.training.teacher import Teacher


def sources(**options):
    return {"recipe": None, "preset": None, "arch": "pix2pix", "assignments": (), "teacher": None} | options


def test_later_sources_of_recipe_fields_win_under_old_and_present_names(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text('tau = 0.1\nlambda_global = 0.1\nmetrics = "l1"\ndecay = 0.1\nseed = 1\n')
    given = sources(recipe=file, preset="no-global", assignments=("decay_fraction=0.2", "seed=2"), seed=3, evaluators="fid")
    with pytest.warns(FutureWarning, match="is now called"):
        _, settings = teacher_and_settings(given)
    assert settings == {
        "tau": 0.1,
        "lambda_global": 0.0,
        "discriminator": "selective",
        "evaluators": "fid",
        "decay_fraction": "0.2",
        "seed": 3,
    }


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("--epochs 1 --set epochs=7", "gcc: --epochs 1 replaces --set epochs=7"),
        ("--size 64 --set size=32", "gcc: --size 64 replaces --set size=32"),
        ("--set tau=0.1 --set tau=0.2", "gcc: --set tau=0.2 replaces --set tau=0.1"),
        ("--epochs 1 --set epochs=1", ""),
    ],
)
def test_a_value_that_another_one_replaces_costs_one_line(words, line, tmp_path):
    arguments = ["compress", "--arch", "pix2pix", "--dry-run", "--size", "32", "--set", "ngf=4", "--set", "ndf=4", "--budget", "60%"]
    result = CliRunner().invoke(main, [*arguments, "--set", "prune_width=4", *words.split()])
    assert result.exit_code == 0 and [text for text in result.stderr.splitlines() if "replaces" in text] == ([line] if line else [])


def test_a_resumed_run_that_goes_on_with_other_data_says_so(tmp_path):
    saved = {"command": "compress", "options": {"arch": "pix2pix", "data": str(tmp_path / "before")}}
    (tmp_path / COMMAND_FILE).write_text(json.dumps(saved))
    for name in ("before", "now"):
        (tmp_path / name).mkdir()
    resume = ["compress", "--resume", str(tmp_path), "--data"]
    line = f"gcc: the run was trained on {tmp_path / 'before'} and continues with {tmp_path / 'now'}: its values are comparable only"
    assert line in CliRunner().invoke(main, [*resume, str(tmp_path / "now")]).stderr
    assert "goes on with" not in CliRunner().invoke(main, [*resume, str(tmp_path / "before")]).stderr


@pytest.mark.parametrize("name", ["data", "teacher"])
def test_what_has_moved_since_a_run_started_is_asked_for(name, tmp_path):
    saved = {"command": "compress", "options": {"arch": "pix2pix", name: str(tmp_path / "before")}}
    (tmp_path / COMMAND_FILE).write_text(json.dumps(saved))
    result = CliRunner().invoke(main, ["compress", "--resume", str(tmp_path)])
    path = tmp_path / "before"
    assert f"was started with --{name} {path}, which does not exist: give its new place with --{name}" in result.stderr.replace("\n", " ")


def test_architectures_that_contradict_each_other_are_refused(tmp_path):
    (tmp_path / "recipe.toml").write_text('arch = "srgan"\n')
    with pytest.raises(GccError, match="is for srgan, but --arch is pix2pix"):
        teacher_and_settings(sources(recipe=tmp_path / "recipe.toml"))
    assert teacher_and_settings(sources(recipe=tmp_path / "recipe.toml", arch=None))[0].arch == "srgan"


def test_a_resumed_run_keeps_the_fields_that_it_started_with(tmp_path):
    assert _fields_of_run(tmp_path) == {}
    recipe = Teacher.create("pix2pix").architecture({"metric": "l1", "prune_width": 20, "seed": 5}).recipe
    text = recipe.to_toml("pix2pix").replace("mac_counter", "counter")  # as version 0.1 wrote it
    (tmp_path / "recipe.toml").write_text(text)
    kept = {"metric": "l1", "mac_counter": "paper", "prune_width": 20, "alpha_reach": 12.0}
    assert _fields_of_run(tmp_path) == kept | {"epochs": 250}
    (tmp_path / "recipe.toml").write_text(text + "steps = 30\n")
    assert _fields_of_run(tmp_path) == kept | {"steps": 30}
    # The field that earlier versions did not have is compared by its default.
    (tmp_path / "recipe.toml").write_text(text.replace("alpha_reach = 12.0\n", ""))
    assert _fields_of_run(tmp_path)["alpha_reach"] == 12.0


@pytest.mark.parametrize(
    "words",
    [
        [
            "compress",
            "--arch",
            "pix2pix",
            "--data",
            "a b",
            "--compile",
            "--epochs",
            "3",
            "--set",
            "ngf=4",
            "--set",
            "ndf=4",
            "--budget",
            "25%",
        ],
        ["sweep", "--arch", "pix2pix", "--budget", "10%", "--budget", "25%"],
        ["train", "--arch", "pix2pix", "--checkpoint-every", "5m", "--keep-checkpoints", "0", "--workers", "0"],
    ],
)
def test_the_command_line_has_what_differs_from_the_defaults(words):
    command = main.commands[words[0]]
    context = command.make_context(words[0], [*words[1:], "--dry-run"])
    with context:
        line = shlex.split(command_line(context.params))
    assert line[:2] == ["gcc", words[0]]
    again = command.make_context(words[0], line[2:]).params
    assert again == context.params | {"dry_run": False} and sorted(line[1:]) == sorted(words)

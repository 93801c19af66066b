"""Options: derived from `RunConfig`, understood by the names of version 0.1, and merged with the other sources of recipe fields."""

import json
import shlex
import typing
import warnings
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gcc.artifacts.run_folder import COMMAND_FILE
from gcc.cli import main
from gcc.cli.commands import Commands
from gcc.cli.errors import warnings_as_lines
from gcc.cli.options import RENAMED_FLAGS, command_line, config_option, range_of, teacher_and_settings
from gcc.cli.run import _fields_of_run
from gcc.errors import GccError
from gcc.training.config import RunConfig
from gcc.training.teacher import Teacher

RENAMED = [
    ("--metrics", "--evaluators", "evaluators", "fid", "fid"),
    ("--counter", "--mac-counter", "mac_counter", "paper", "paper"),
    ("--keep", "--keep-checkpoints", "keep_checkpoints", "5", 5),
]


def option(name):
    @click.command()
    @config_option(name)
    def command(**options):
        pass

    return command.params[0]


def parsed(name, *arguments):
    """Return the options that a command gets, instead of running it."""
    options = {}
    command = Commands()[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "callback", lambda **values: options.update(values))
        result = CliRunner().invoke(main, [name, *arguments])
    assert result.exit_code == 0, result.output
    return options, result.stderr


def sources(**options):
    return {"recipe": None, "preset": None, "arch": "pix2pix", "assignments": (), "teacher": None} | options


def test_every_run_option_is_a_field_of_the_config_with_its_default():
    for field in fields(RunConfig):
        options, _ = parsed("compress")
        default = () if field.name == "weights" else field.default
        assert options[field.name] == default, field.name
    assert {field.name for field in fields(RunConfig)} - {option.name for option in Commands()["train"].params} == {"widths", "student"}


def test_a_field_becomes_an_option_of_its_type():
    assert option("compile").is_flag
    assert list(option("amp").type.choices) == ["auto", "bf16", "fp16", "off"]
    assert option("workers").type.min == 0 and option("micro_batch").type.min == 1
    assert isinstance(option("data").type, click.Path)
    assert option("weights").multiple and option("weights").metavar == "NAME=FILE"
    assert "--micro-batch" in option("micro_batch").opts
    hints = typing.get_type_hints(RunConfig)
    flags = [name for name, kind in hints.items() if kind is bool]
    options, _ = parsed(
        "compress", *(f"--{name.replace('_', '-')}" for name in flags), "--data", "x", "--weights", "a=b", "--weights", "c=d"
    )
    assert all(options[name] is True for name in flags) and options["data"] == Path("x") and options["weights"] == ("a=b", "c=d")


@pytest.mark.parametrize(("old", "new", "name", "text", "value"), RENAMED)
def test_a_flag_by_its_old_name_is_understood_and_its_present_name_printed(old, new, name, text, value):
    for arguments in ([old, text], [f"{old}={text}"]):
        options, stderr = parsed("compress", *arguments)
        assert options[name] == value and stderr == f"gcc: {old} is now called {new}\n"
    options, stderr = parsed("compress", new, text)
    assert options[name] == value and stderr == ""


def test_old_flags_are_understood_wherever_the_present_ones_exist():
    assert set(RENAMED_FLAGS) == {"--plain", *(old for old, *_ in RENAMED)}
    for name in ("compress", "train", "ablate", "doctor"):
        options, stderr = parsed(name, "--plain")
        assert options["reference"] is True and stderr == "gcc: --plain is now called --reference\n"
    options, stderr = parsed("evaluate", "images", "--metrics", "fid")
    assert options["evaluators"] == "fid" and "--metrics is now called --evaluators" in stderr
    refused = CliRunner().invoke(main, ["train", "--counter", "paper"])
    assert refused.exit_code == 2 and "No such option" in refused.output and "now called" not in refused.output


def test_what_follows_two_hyphens_is_not_a_flag():
    options, stderr = parsed("report", "--", "--metrics")
    assert options["runs"] == (Path("--metrics"),) and stderr == ""


def test_a_recipe_field_by_its_old_name_costs_one_line(tmp_path):
    (tmp_path / "old.toml").write_text('arch = "pix2pix"\nkeep = 0.25\n')
    arguments = ["compress", "--recipe", str(tmp_path / "old.toml"), "--set", "decay=0.5", "--set", "ngf=4", "--set", "ndf=4", "--dry-run"]
    result = CliRunner().invoke(main, [*arguments, "--set", "prune_width=4", "--size", "32", "--budget", "60%"])
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "gcc: the recipe field keep is now called min_keep_ratio",
        "gcc: the recipe field decay is now called decay_fraction",
    ]
    assert "decay_fraction = 0.5" in result.stdout and "min_keep_ratio = 0.25" in result.stdout


def test_a_rename_is_printed_once_and_other_warnings_stay(capsys, monkeypatch):
    shown = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        monkeypatch.setattr(warnings, "showwarning", lambda message, *rest: shown.append(str(message)))
        with warnings_as_lines():
            for _ in range(2):
                warnings.warn("gcc.registry.Judged is now called EvalSample", DeprecationWarning, stacklevel=1)
            warnings.warn("something else", FutureWarning, stacklevel=1)
        warnings.warn("a is now called b", FutureWarning, stacklevel=1)
    assert capsys.readouterr().err == "gcc: gcc.registry.Judged is now called EvalSample\n"
    assert shown == ["something else", "a is now called b"]


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
    line = f"gcc: the run was trained on {tmp_path / 'before'} and continues with {tmp_path / 'now'}: values before and after"
    assert line in CliRunner().invoke(main, [*resume, str(tmp_path / "now")]).stderr
    assert "goes on with" not in CliRunner().invoke(main, [*resume, str(tmp_path / "before")]).stderr


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


@pytest.mark.parametrize("text", ["-1..1", "-1,1", "(-1, 1)"])
def test_ranges_of_values_are_spelled_as_those_of_files_or_as_before(text):
    assert range_of(text) == (-1, 1)

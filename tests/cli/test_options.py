"""Options: derived from `RunConfig`, and understood by the names of version 0.1."""

import typing
import warnings
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gcc.cli import main
from gcc.cli.commands import Commands
from gcc.cli.errors import warnings_as_lines
from gcc.cli.options import RENAMED_FLAGS, config_option
from gcc.training.config import RunConfig

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

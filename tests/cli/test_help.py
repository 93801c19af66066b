"""`--help`, usage errors, completion and colours, as a user of a terminal meets them."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gcc.cli import main
from gcc.cli.help_pages import GROUPS, OTHERS, Command
from gcc.deploy.runtime_names import FORMATS
from gcc.registry import RUNTIMES, Inputs
from tests.test_docs import understood

SCRIPT = Path(__file__).parents[2] / "scripts" / "gcc"


def every_command(group, path=()):
    for name, command in group.commands.items():
        yield from every_command(command, (*path, name)) if isinstance(command, click.Group) else [((*path, name), command)]


EVERY = dict(every_command(main))


def page(*words):
    ran = CliRunner().invoke(main, [*words, "--help"], prog_name="gcc")
    assert ran.exit_code == 0, ran.output
    return ran.output


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_page_ends_with_an_example_that_parses(path):
    *_, last = page(*path).strip().splitlines()
    words = shlex.split(last)
    assert isinstance(EVERY[path], Command) and words[: len(path) + 1] == ["gcc", *path]
    understood(words[1:])


@pytest.mark.parametrize("name", ["compress", "train", "doctor", "ablate"])
def test_long_pages_show_every_option_once_in_a_named_group(name):
    text = page(name)
    sections = re.split(r"^(\w[\w ]+):$", text, flags=re.MULTILINE)
    bodies = dict(zip(sections[1::2], sections[2::2], strict=True))
    assert {"What is trained", "Training", "The machine", "The output folder"} <= bodies.keys() <= {*GROUPS, OTHERS, "Example"}
    for parameter in main.commands[name].params:
        flags = rf"^  (-\w, )?{parameter.opts[-1]}\b(?!-)"
        assert sum(len(re.findall(flags, body, flags=re.MULTILINE)) for body in bodies.values()) == 1, parameter.name
    assert set(re.findall(r"^  +(-[-\w]+)", bodies[OTHERS], flags=re.MULTILINE)) <= {"-h", "--help"}


def test_train_says_what_comes_next():
    assert "The second step is to compress it" in page("train") and "gcc compress" in page("train")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("compress --budgett 25%", "No such option '--budgett'."),
        ("compress --dataroot facades", "No such option '--dataroot': here it is --data"),
        ("train --lr 0.1", "No such option '--lr': here it is --set lr_g=... and --set lr_d=..."),
        ("sweep --lambda_L1 50", "No such option '--lambda_L1': here it is --set lambda_L1=..."),
        ("compress --amp fp8", "Invalid value for '--amp': 'fp8' is not one of"),
        ("compress --epochs ten", "Invalid value for '--epochs'"),
        ("translate", "Missing argument 'STUDENT'"),
        ("version now", "Got unexpected extra argument"),
        ("--colour", "No such option '--colour'"),
    ],
)
def test_a_usage_error_costs_two_lines(line, message):
    ran = CliRunner().invoke(main, line.split(), prog_name="gcc")
    first, second = ran.stderr.splitlines()
    command = "gcc" if line.startswith("-") else f"gcc {line.split()[0]}"
    assert ran.exit_code == 2 and not ran.stdout
    assert first.startswith(f"gcc: error: {message}") and second == f"gcc: see {command} --help"


def test_pages_name_the_program_that_was_called(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    (tmp_path / "gcc").write_text(SCRIPT.read_text())
    (tmp_path / "gcc").chmod(0o755)
    for program, name in (("gancc", "gancc"), (str(tmp_path / "gcc"), "gcc")):
        ran = subprocess.run([program, "list", "--help"], env=os.environ | {"PATH": path}, capture_output=True, text=True, check=True)
        assert ran.stdout.startswith(f"Usage: {name} list")


def test_a_shell_completes_commands_and_options():
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

    def complete(words, position):
        variables = {"_GANCC_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(position), "PATH": path}
        return subprocess.run(["gancc"], env=os.environ | variables, capture_output=True, text=True, check=True).stdout.split()

    assert complete("gancc comp", 1) == ["plain,compress"]
    assert complete("gancc compress --bud", 2) == ["plain,--budget"]
    assert complete("gancc compress --amp b", 3) == ["plain,bf16"]


@pytest.mark.parametrize(("value", "coloured"), [("1", False), ("", True)])
def test_no_color_is_kept(value, coloured, monkeypatch):
    monkeypatch.setenv("NO_COLOR", value)
    ran = CliRunner().invoke(main, ["doctor", "--device", "cpu"], color=True)
    assert ("\x1b[" in ran.output) == coloured and "ok" in ran.output


def test_the_size_of_an_export_names_the_formats_of_one_size():
    (text,) = [option.help for option in EVERY[("export",)].params if option.name == "size"]
    formats = ("onnx", "openvino", "ncnn", "litert", "coreml", "torchscript", "pt2")
    any_size = Inputs((3, 8, 8), step=4, min_size=4)
    of_one = {name for name in formats if RUNTIMES.load(FORMATS.get(name, name))().accepts(any_size).step is None}
    assert {name for name in formats if name in text} == of_one and "for other formats" in text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compress", "pix2pix"], "Got unexpected extra argument (pix2pix): did you mean --arch pix2pix?"),
        (["train", "my photos"], "Got unexpected extra argument (my photos): did you mean --data 'my photos' or --teacher 'my photos'?"),
        (["evaluate", "runs", "my photos"], "Got unexpected extra argument (my photos): did you mean --data 'my photos'?"),
        (["list", "my photos"], "Got unexpected extra argument (my photos)"),
        (["compress", "nothing", "else"], "Got unexpected extra arguments (nothing else)"),
    ],
)
def test_an_argument_too_many_names_the_option_that_takes_it(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my photos").mkdir()
    ran = CliRunner().invoke(main, words, prog_name="gcc")
    assert ran.exit_code == 2 and ran.stderr.splitlines()[0] == f"gcc: error: {message}"

"""What the README and the pages on Python and on any generator say works; their commands are tested in tests/test_docs.py."""

import re
import sys
import tomllib
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import click
import pytest
import torch
from torch.distributed.run import get_args_parser

from gcc import load
from gcc.artifacts.run_folder import FINAL_STATE
from gcc.cli import main
from gcc.compressor import Compressor
from gcc.experiments.sweep import Sweep
from gcc.pruning.cost import cost_of
from gcc.registry import TASKS
from tests.helpers.families import TINY

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README} | {
    f"docs/{path.relative_to(ROOT / 'docs')}": path.read_text() for path in sorted((ROOT / "docs").rglob("*.md"))
}
FOREIGN = {"docs/migration.md"}
"""Pages that also name options of other programs, and of earlier versions."""
OTHER_PROGRAMS = {
    *("--no-deps", "--stride", "--threads", "--layers", "--eval", "--repos", "--no-export", "--jobs", "--table", "--limit"),
    *("--names", "--tools", "--beside", "--budgets", "--variants", "--formats"),
}
"""Options of pip, of the programs in benchmarks/, and one of pytorch-CycleGAN-and-pix2pix that a question is about."""
OPTIONS = {(page, option) for page, text in PAGES.items() if page not in FOREIGN for option in re.findall(r"--[a-z][a-z-]+", text)}


def python_blocks(page):
    return re.findall(r"```python\n(.*?)```", PAGES[page], flags=re.DOTALL)


def every_command(group):
    for command in group.commands.values():
        yield from every_command(command) if isinstance(command, click.Group) else [command]


def test_the_steps_of_pruning_work_alone():
    (block,) = [block for block in python_blocks("docs/python.md") if "find_groups" in block]
    names = {}
    exec(compile(block, "python.md", "exec"), names)
    widths = names["architecture"].full_widths(32)
    assert names["groups"] and names["scores"].keys() == widths.keys()
    assert 0.99 * 0.25 <= names["pruned"].cost.macs / names["teacher"].macs <= 0.25
    assert sum(parameter.numel() for parameter in names["student"].parameters()) == names["pruned"].cost.parameters


def test_an_own_dataset_works():
    (block,) = [block for block in python_blocks("docs/python.md") if "class Pairs" in block]
    names = {}
    exec(compile(block.replace("size=64", "size=64, ngf=8, prune_width=8, ndf=8"), "python.md", "exec"), names)
    assert len(names["compressor"].context.data.train) == 36


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_a_run_from_python_works(page, tmp_path, monkeypatch):
    logged = []
    wandb = SimpleNamespace(init=lambda project: None, log=logged.append, finish=lambda: logged.append("finished"))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("gcc.compressor.Compressor", lambda teacher, **settings: Compressor(teacher, **settings | TINY["pix2pix"]))
    names = {}
    for block in python_blocks(page):
        if "result" in block or "optimize" in block:
            exec(compile(block, page, "exec"), names)
    image = torch.randn(1, 3, 32, 32)
    generator = load(tmp_path / "runs" / "mine" / "student")
    assert torch.equal(names["generator"](image), generator(image))
    if "wandb" in "".join(python_blocks(page)):
        assert logged[-1] == "finished" and "train/student/G" in logged[-2]


@pytest.mark.slow
def test_an_own_gan_from_python_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    quick = {"steps": 2, "size": 32, "ndf": 4, "evaluators": "", "device": "cpu"}
    monkeypatch.setattr("gcc.Compressor", lambda **settings: Compressor(**settings | quick))
    names = {}
    first, of_two, own_task = python_blocks("docs/own-gan.md")
    exec(compile(first, "own-gan.md", "exec"), names)
    image = torch.randn(1, 3, 20, 24)
    with torch.no_grad():
        assert torch.equal(names["student"](image), names["result"].student(image))
    exec(compile(of_two, "own-gan.md", "exec"), names)
    a, b = torch.randn(2, 1, 3, 8, 8)
    assert torch.equal(names["OfTwo"](torch.sub)(torch.cat([a, b], 1)), a - b)
    monkeypatch.setattr(TASKS, "_registered", set())
    exec(compile(own_task, "own-gan.md", "exec"), names)
    assert names["result"].pairs["student"].arch == "unconditional"


@pytest.mark.slow
def test_a_sweep_from_python_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    settings = {name: value for name, value in TINY["pix2pix"].items() if name != "budget"}
    monkeypatch.setattr("gcc.experiments.sweep.Sweep", partial(Sweep, **settings))
    (block,) = python_blocks("docs/sweep.md")
    exec(compile(block, "sweep.md", "exec"), {})
    assert capsys.readouterr().out.count("psnr") == 2 and (tmp_path / "runs" / "sweep" / "report.html").exists()


@pytest.mark.parametrize(("page", "share"), [("README.md", 0.5), ("docs/any-generator.md", 0.25)])
def test_any_generator_is_pruned(page, share):
    (block,) = [block for block in python_blocks(page) if "gcc.prune" in block]
    names = {}
    exec(compile(block, page, "exec"), names)
    full, smaller = (cost_of(names.get(name) or names["generator"], torch.zeros(1, 3, 16, 16)).macs for name in ("own", "smaller"))
    assert 0.9 * share <= smaller / full <= share


@pytest.mark.parametrize(("page", "option"), sorted(OPTIONS))
def test_every_option_is_known_to_a_command(page, option):
    known = {opt for command in every_command(main) for parameter in command.params for opt in (*parameter.opts, *parameter.secondary_opts)}
    assert option in known | {"--help", "--version"} | set(get_args_parser()._option_string_actions) | OTHER_PROGRAMS


def test_every_option_of_compress_is_explained():
    options = {opt for parameter in main.commands["compress"].params if not parameter.hidden for opt in parameter.opts if len(opt) > 2}
    assert options <= {option for page, option in OPTIONS if page == "docs/training.md"}


def test_the_requirements_are_those_of_the_package():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in README
    (torch_version,) = (name.removeprefix("torch>=") for name in project["dependencies"] if name.startswith("torch>="))
    assert f"PyTorch {torch_version} or newer" in README


def test_every_picture_and_page_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link


@pytest.mark.parametrize("page", ["README.md", "docs/training.md"])
def test_the_tree_of_a_run_has_every_entry(page):
    (tree,) = re.findall(r"```\nruns/pix2pix/\n(.*?)```", PAGES[page], flags=re.DOTALL)
    for name in (FINAL_STATE, "checkpoints/", "student/", "teacher/", "last/", "report.html"):
        assert name in tree

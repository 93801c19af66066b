"""What the README and the page on any generator say works; their commands are tested in tests/test_docs.py."""

import re
from pathlib import Path

import click
import pytest
import torch
from torch.distributed.run import get_args_parser

from gcc.cli import main
from gcc.pruning.cost import cost_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def every_command(group):
    for command in group.commands.values():
        yield from every_command(command) if isinstance(command, click.Group) else [command]


def test_the_steps_of_pruning_work_alone():
    (block,) = [block for block in PYTHON if "find_groups" in block]
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    widths = names["architecture"].full_widths(32)
    assert names["groups"] and names["scores"].keys() == widths.keys()
    assert 0.99 * 0.25 <= names["pruned"].cost.macs / names["teacher"].macs <= 0.25
    assert sum(parameter.numel() for parameter in names["student"].parameters()) == names["pruned"].cost.parameters


@pytest.mark.parametrize(("page", "share"), [("README.md", 0.5), ("docs/any-generator.md", 0.25)])
def test_any_generator_is_pruned(page, share):
    (block,) = [block for block in re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL) if "gcc.prune" in block]
    names = {}
    exec(compile(block, page, "exec"), names)
    full, smaller = (cost_of(names.get(name) or names["generator"], torch.zeros(1, 3, 16, 16)).macs for name in ("own", "smaller"))
    assert 0.9 * share <= smaller / full <= share


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--[a-z][a-z-]+", README)) - {"--version", "--nproc-per-node"}))
def test_every_option_is_known_to_a_command(option):
    known = {opt for command in every_command(main) for parameter in command.params for opt in parameter.opts}
    assert option in known | {"--help"} | set(get_args_parser()._option_string_actions)


def test_every_picture_and_page_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link

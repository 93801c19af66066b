"""What the README says works; its commands are tested with those of the other pages, in tests/test_docs.py."""

import re
from pathlib import Path

import click
import pytest
from torch.distributed.run import get_args_parser

from gcc.cli import main

README = (Path(__file__).parents[1] / "README.md").read_text()
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


@pytest.mark.parametrize("option", sorted(set(re.findall(r"--[a-z][a-z-]+", README)) - {"--version", "--nproc-per-node"}))
def test_every_option_is_known_to_a_command(option):
    known = {opt for command in every_command(main) for parameter in command.params for opt in parameter.opts}
    assert option in known | {"--help"} | set(get_args_parser()._option_string_actions)


def test_every_picture_and_page_is_there():
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (Path(__file__).parents[1] / link).exists(), link

"""The guide to plugins works as it stands: its blocks are a distribution whose tests pass."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from gcc.cli import main
from gcc.errors import ClashError, ContractError, PluginError
from gcc.registry import REGISTRIES
from tests.helpers.distributions import run_tests

DOCS = Path(__file__).parents[1] / "docs"
GUIDE = (DOCS / "plugins.md").read_text()
BLOCKS = re.findall(r"^`([^`\n]+)`[^\n]*\n\n```(?:toml|python)\n(.*?)```", GUIDE, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.slow
def test_the_blocks_are_a_distribution_whose_tests_pass(tmp_path):
    folder = tmp_path / "gcc-sharp"
    for place, text in BLOCKS:
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        with (folder / place).open("a") as file:
            file.write(text)
    assert len(BLOCKS) == GUIDE.count("```toml") + GUIDE.count("```python")
    done = run_tests([folder], tmp_path / "installed")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr


def test_the_commands_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```console\n(.*?)```", GUIDE, flags=re.DOTALL)
    new, install, test, compress = (shlex.split(line.removeprefix("$ "), comments=True) for line in block.splitlines())
    assert CliRunner().invoke(main, new[1:]).exit_code == 0
    assert [path.name for path in tmp_path.iterdir()] == [test[1]] == [install[-1].removesuffix("[test]")]
    options = {option for parameter in main.commands[compress[1]].params for option in parameter.opts}
    assert {word for word in compress if word.startswith("--")} <= options


def test_every_group_is_in_the_table():
    assert {group for group in re.findall(r"`(gcc\.[a-z]+)` \| `gcc\.registry", GUIDE)} == {registry.group for registry in REGISTRIES}


def test_every_fault_is_in_the_table():
    faults = {f"`{fault.status}`" for fault in (PluginError, ClashError, ContractError)}
    assert faults == set(re.findall(r"^\| (`[a-z ]+`) \| (?:the plugin|two)", GUIDE, flags=re.MULTILINE))


def test_every_plugin_of_the_repository_is_in_the_table():
    assert {path.name for path in (DOCS.parent / "plugins").iterdir()} == set(re.findall(r"^\| \[([a-z-]+)\]", GUIDE, flags=re.MULTILINE))

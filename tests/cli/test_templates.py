"""The skeletons of plugins work as they are."""

import pytest
from click.testing import CliRunner

from gcc.cli import main
from gcc.cli.templates import KINDS, write_skeleton
from gcc.errors import OutputError, PluginError
from tests.helpers.distributions import run_tests


@pytest.mark.slow
def test_every_skeleton_passes_its_contract_test(tmp_path):
    # Their other tests, which train, run in continuous integration, which installs the skeletons with pip.
    folders = [tmp_path / kind for kind in KINDS]
    for kind, folder in zip(KINDS, folders, strict=True):
        write_skeleton(f"my-{kind}-2", kind, folder)
    done = run_tests(folders, tmp_path / "installed", "-k", "contract")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(KINDS)} passed" in done.stdout


def test_the_command_offers_every_kind():
    (kind,) = [parameter for parameter in main.commands["plugin"].commands["new"].params if parameter.name == "kind"]
    assert list(kind.type.choices) == list(KINDS)


@pytest.mark.parametrize("name", ["sharp", "gcc-sharp"])
def test_the_command_writes_and_says_what_comes_next(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(main, ["plugin", "new", name, "--kind", "metric"])
    *written, last = done.output.splitlines()
    assert done.exit_code == 0 and last == "install and test it: pip install -e 'gcc-sharp[test]' && pytest gcc-sharp"
    assert written == [f"gcc-sharp/{path}" for path in ("pyproject.toml", "README.md", "src/gcc_sharp/__init__.py", "tests/test_sharp.py")]
    texts = [(tmp_path / path).read_text() for path in written]
    assert "class Sharp(ImportanceMetric)" in texts[2] and '[project.entry-points."gcc.metrics"]\nsharp = "gcc_sharp:Sharp"' in texts[0]


@pytest.mark.parametrize("name", ["", "Sharp", "2sharp", "sharp_er", "sharp-", "a b", "../up", "gcc-"])
def test_an_invalid_name_is_refused(name, tmp_path):
    with pytest.raises(PluginError, match="expected small letters and digits"):
        write_skeleton(name, "metric", tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("name", "kind"), [("generator", "architecture"), ("tensor", "metric"), ("layer-selector", "selector"), ("none", "metric")]
)
def test_a_class_name_that_is_taken_is_refused(name, kind, tmp_path):
    with pytest.raises(PluginError, match="choose another name"):
        write_skeleton(name, kind, tmp_path / "new")


@pytest.mark.parametrize(("name", "kind"), [("slimming", "metric"), ("gcc-uniform", "selector")])
def test_a_name_that_would_clash_is_refused(name, kind, tmp_path):
    with pytest.raises(PluginError, match="installed already"):
        write_skeleton(name, kind, tmp_path / "new")


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        write_skeleton("sharp", "metric", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]

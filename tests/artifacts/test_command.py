"""The command line of a run, as its folder stores it."""

import json
from pathlib import Path

import pytest

from gcc.artifacts.run_folder import RunData, data_of, load_command, save_command
from gcc.errors import RunError

OPTIONS = {"data": Path("photos"), "teacher": None, "size": 64, "reference": False, "weights": ("vgg19=v.pth",), "assignments": ("a=1",)}
NONE_GIVEN = dict.fromkeys(OPTIONS) | {"weights": (), "assignments": ()}


def test_options_are_loaded_with_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_command(tmp_path, "compress", OPTIONS | {"out": tmp_path, "force": True, "dry_run": False})
    monkeypatch.chdir("/")
    loaded = load_command(tmp_path, "compress", NONE_GIVEN | {"force": False}, [])
    assert loaded == OPTIONS | {"data": tmp_path / "photos", "weights": (f"vgg19={tmp_path / 'v.pth'}",), "force": False}


def test_options_given_now_win(tmp_path):
    save_command(tmp_path, "compress", OPTIONS)
    assert load_command(tmp_path, "compress", NONE_GIVEN | {"size": 32}, ["size"])["size"] == 32


def test_repeatable_options_are_added(tmp_path):
    save_command(tmp_path, "compress", OPTIONS)
    loaded = load_command(tmp_path, "compress", NONE_GIVEN | {"assignments": ("b=2",)}, ["assignments"])
    assert loaded["assignments"] == ("a=1", "b=2")


def test_another_command_is_named(tmp_path):
    save_command(tmp_path, "train", OPTIONS)
    with pytest.raises(RunError, match=f"started by `gcc train`: resume it with `gcc train --resume {tmp_path}`"):
        load_command(tmp_path, "compress", NONE_GIVEN, [])


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"contains no run that can be resumed: it has no command\.json"):
        load_command(tmp_path, "compress", NONE_GIVEN, [])


def test_the_folder_of_a_result_names_that_of_its_run(tmp_path):
    save_command(tmp_path, "compress", OPTIONS)
    student = tmp_path / "best" / "student"
    student.mkdir(parents=True)
    with pytest.raises(RunError, match=f"is a part of the run in {tmp_path}: resume that with `gcc compress --resume {tmp_path}`"):
        load_command(student, "compress", NONE_GIVEN, [])


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "{}", "3", '{"command": "compress", "options": 3}', '{"command": "compress", "options": {"size": {"a": 1}}}']
)
def test_a_damaged_file_is_refused(text, tmp_path):
    (tmp_path / "command.json").write_text(text)
    with pytest.raises(RunError, match=r"is damaged: resume with `gcc compress --resume auto --out .*`|is not an option"):
        load_command(tmp_path, "compress", NONE_GIVEN, [])


def test_unknown_options_are_ignored(tmp_path):
    (tmp_path / "command.json").write_text(json.dumps({"command": "compress", "options": {"size": 8, "evil": 1}}))
    assert load_command(tmp_path, "compress", NONE_GIVEN, []) == NONE_GIVEN | {"size": 8}


def test_the_options_of_version_0_1_are_read_by_their_present_names(tmp_path):
    old = {"metrics": "fid", "plain": True, "keep": 3, "counter": "paper", "files": ["vgg19=/v.pth"], "size": 64}
    (tmp_path / "command.json").write_text(json.dumps({"command": "compress", "options": old}))
    options = {"evaluators": None, "reference": False, "keep_checkpoints": 2, "mac_counter": None, "weights": (), "size": None}
    assert load_command(tmp_path, "compress", options, []) == {
        "evaluators": "fid",
        "reference": True,
        "keep_checkpoints": 3,
        "mac_counter": "paper",
        "weights": ("vgg19=/v.pth",),
        "size": 64,
    }


@pytest.mark.parametrize(
    ("run", "result", "is_found"),
    [
        (".", "student", True),
        (".", "teacher/A2B", True),
        (".", "best/student/A2B", True),
        (".", "last/teacher", True),
        ("25%", "student/A2B", True),
        ("full/seed-0", "student", True),
        (".", "copies/student", False),
        (".", "student/copies/A2B", False),
        (".", "other/student", False),
        ("a/b/c", "student", False),
    ],
)
def test_a_generator_has_the_data_of_the_run_that_saved_it_alone(run, result, is_found, tmp_path):
    save_command(tmp_path, "sweep", OPTIONS | {"dataset": "aligned"})
    folder = tmp_path / run / result
    folder.mkdir(parents=True)
    (tmp_path / run / "recipe.toml").touch()
    assert data_of(folder) == (RunData(Path("photos").resolve(), "aligned") if is_found else None)


def test_a_run_within_another_run_does_not_have_its_data(tmp_path):
    save_command(tmp_path, "compress", OPTIONS | {"dataset": None})
    (tmp_path / "recipe.toml").touch()
    (tmp_path / "own" / "student").mkdir(parents=True)
    (tmp_path / "own" / "recipe.toml").touch()
    assert data_of(tmp_path / "own" / "student") is None and data_of(tmp_path / "student").folder == Path("photos").resolve()

"""Writing: a file is whole or absent, and a run that is there is not lost."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from gcc.errors import OutputError
from gcc.files import claim, fresh_folder, replacing, write_text


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(KeyError), replacing(path) as fresh:
        fresh.write_text("half")
        raise KeyError
    assert path.read_text() == "old"
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_the_system_refuses_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write .*file/inside"):
        write_text(tmp_path / "file" / "inside", "")
    with pytest.raises(OutputError, match="cannot write"):
        claim(tmp_path / "file", force=False, needs=0, inputs=[])


def test_a_read_only_folder_is_refused_at_once():
    with pytest.raises(OutputError, match="cannot write /proc/run"):
        claim(Path("/proc/run"), force=False, needs=0, inputs=[])


def test_a_full_disk_is_refused_at_once(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1_000_000))
    claim(tmp_path, force=False, needs=1_000_000, inputs=[])
    with pytest.raises(OutputError, match="1 MB free, and the run will write about 5 MB"):
        claim(tmp_path, force=False, needs=5_000_000, inputs=[])


def test_a_held_run_is_kept_unless_forced(tmp_path):
    (tmp_path / "student").mkdir()
    (tmp_path / "student" / "model.safetensors").write_text("precious")
    (tmp_path / "recipe.toml").write_text("")
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"already holds a run \(recipe.toml, student\).*--force"):
        claim(tmp_path, force=False, needs=0, inputs=[])
    assert (tmp_path / "student" / "model.safetensors").exists()
    claim(tmp_path, force=True, needs=0, inputs=[])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt"]


def test_folders_of_the_same_names_that_are_no_run_are_never_deleted(tmp_path):
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "mine.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(OutputError, match=r"holds samples and no recipe\.toml"):
            claim(tmp_path, force=force, needs=0, inputs=[])
    assert (tmp_path / "samples" / "mine.txt").exists()


def test_what_the_run_reads_is_never_deleted(tmp_path):
    (tmp_path / "teacher").mkdir()
    (tmp_path / "recipe.toml").write_text("")
    with pytest.raises(OutputError, match="teacher, which this run reads"):
        claim(tmp_path, force=True, needs=0, inputs=[tmp_path.parent, tmp_path / "student" / ".." / "teacher"])
    assert (tmp_path / "teacher").exists()


def test_the_default_folder_is_numbered(tmp_path):
    assert fresh_folder(tmp_path / "run") == tmp_path / "run"
    (tmp_path / "run").mkdir()
    (tmp_path / "run-2").mkdir()
    assert fresh_folder(tmp_path / "run") == tmp_path / "run-3"

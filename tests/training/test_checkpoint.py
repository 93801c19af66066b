"""Checkpoints on disk: the newest undamaged one counts, and a failed write harms no other."""

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch

from gcc.artifacts.run_folder import is_finished
from gcc.errors import OutputError
from gcc.training.checkpoint import Checkpoints
from tests.helpers.processes import environment


def saved(folder, count, keep=2):
    checkpoints = Checkpoints(folder, keep)
    return checkpoints, [checkpoints.save({"number": number, "tensor": torch.full((3,), float(number))}) for number in range(count)]


def test_there_is_none_at_first_and_the_folder_shows_that_a_run_has_begun(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() == {}
    (tmp_path / "student").mkdir()
    assert is_finished(tmp_path)
    checkpoints.begin()
    assert checkpoints.newest() == {} and not is_finished(tmp_path)
    checkpoints.clear()
    assert is_finished(tmp_path)


def test_temporary_files_of_interrupted_writes_are_removed_when_the_run_resumes(tmp_path):
    checkpoints, paths = saved(tmp_path, 1)
    (tmp_path / "checkpoints" / ".checkpoint-000002.safetensors.x7.safetensors").write_bytes(b"half")
    checkpoints.begin()
    assert list((tmp_path / "checkpoints").iterdir()) == paths


@pytest.mark.slow
def test_a_process_that_is_killed_at_any_moment_leaves_an_undamaged_checkpoint(tmp_path):
    command = [sys.executable, Path(__file__).parents[1] / "helpers" / "killed_writers.py", tmp_path, "60"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_the_newest_is_loaded_with_its_tensors(tmp_path):
    checkpoints, _ = saved(tmp_path, 3)
    newest = checkpoints.newest()
    assert newest["number"] == 2 and newest["tensor"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_only_the_newest_are_kept(keep, tmp_path):
    _, paths = saved(tmp_path, 7, keep)
    assert sorted((tmp_path / "checkpoints").iterdir()) == paths[-keep:]


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "foreign", "not json", "not an object", "missing tensor"])
def test_a_damaged_checkpoint_is_skipped(damage, tmp_path):
    checkpoints, paths = saved(tmp_path, 2)
    whole = paths[-1].read_bytes()
    match damage:
        case "cut":
            paths[-1].write_bytes(whole[:-1])
        case "empty":
            paths[-1].write_bytes(b"")
        case "garbage":
            paths[-1].write_bytes(bytes(range(256)) * 9)
        case "foreign":
            safetensors.torch.save_file({"a": torch.ones(1)}, paths[-1])
        case "not json":
            safetensors.torch.save_file({"a": torch.ones(1)}, paths[-1], metadata={"gcc": "{"})
        case "not an object":
            safetensors.torch.save_file({"a": torch.ones(1)}, paths[-1], metadata={"gcc": "3"})
        case "missing tensor":
            safetensors.torch.save_file({"a": torch.ones(1)}, paths[-1], metadata={"gcc": '{"a": {"$tensor": "b"}}'})
    assert checkpoints.newest()["number"] == 0
    paths[0].write_bytes(b"")
    assert checkpoints.newest() == {}


def test_a_failed_write_leaves_the_earlier_checkpoints(tmp_path, monkeypatch):
    checkpoints, paths = saved(tmp_path, 2)

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gcc.training.checkpoint.save_file", full)
    with pytest.raises(OutputError, match=r"cannot write .*checkpoint-000003.safetensors: No space left"):
        checkpoints.save({"number": 3})
    assert sorted((tmp_path / "checkpoints").iterdir()) == paths and checkpoints.newest()["number"] == 1


def test_clearing_removes_temporary_files_and_leaves_files_of_others(tmp_path):
    checkpoints, paths = saved(tmp_path, 2)
    (paths[0].parent / ".checkpoint-000003.safetensors.x1.safetensors").write_bytes(b"half")
    (paths[0].parent / "mine.txt").touch()
    checkpoints.clear()
    assert [path.name for path in paths[0].parent.iterdir()] == ["mine.txt"]
    (paths[0].parent / "mine.txt").unlink()
    checkpoints.clear()
    assert not paths[0].parent.exists()


def test_views_and_other_layouts_keep_their_values(tmp_path):
    base = torch.arange(24.0).view(1, 2, 3, 4)
    state = {"base": base, "view": base[:, :1], "last": base.to(memory_format=torch.channels_last), "turned": base.mT}
    Checkpoints(tmp_path).save(state)
    newest = Checkpoints(tmp_path).newest()
    assert all(torch.equal(newest[name], tensor) for name, tensor in state.items())

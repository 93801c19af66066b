"""Checkpoints on disk: the newest whole one counts, and nothing that goes wrong with one harms another."""

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


def test_there_is_none_at_first_and_the_folder_tells_that_a_run_has_begun(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.newest() == {}
    (tmp_path / "student").mkdir()
    assert is_finished(tmp_path)
    checkpoints.begin()
    assert checkpoints.newest() == {} and not is_finished(tmp_path)
    checkpoints.clear()
    assert is_finished(tmp_path)


def test_what_was_left_of_writings_that_were_cut_off_is_gone_when_the_run_goes_on(tmp_path):
    checkpoints, paths = saved(tmp_path, 1)
    (tmp_path / "checkpoints" / ".checkpoint-000002.safetensors.x7.safetensors").write_bytes(b"half")
    checkpoints.begin()
    assert list((tmp_path / "checkpoints").iterdir()) == paths


def test_processes_that_are_killed_at_any_moment_leave_a_whole_one(tmp_path):
    command = [sys.executable, Path(__file__).parents[1] / "helpers" / "killed_writers.py", tmp_path, "60"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_the_newest_comes_back_with_its_tensors(tmp_path):
    checkpoints, _ = saved(tmp_path, 3)
    found = checkpoints.newest()
    assert found["number"] == 2 and found["tensor"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_only_the_newest_are_kept(keep, tmp_path):
    _, paths = saved(tmp_path, 7, keep)
    assert sorted((tmp_path / "checkpoints").iterdir()) == paths[-keep:]


@pytest.mark.parametrize("harm", ["cut", "empty", "garbage", "foreign", "not json", "no table", "lacking"])
def test_a_damaged_one_is_passed_over(harm, tmp_path):
    checkpoints, paths = saved(tmp_path, 2)
    whole = paths[-1].read_bytes()
    match harm:
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
        case "no table":
            safetensors.torch.save_file({"a": torch.ones(1)}, paths[-1], metadata={"gcc": "3"})
        case "lacking":
            safetensors.torch.save_file({"a": torch.ones(1)}, paths[-1], metadata={"gcc": '{"a": {"$tensor": "b"}}'})
    assert checkpoints.newest()["number"] == 0
    paths[0].write_bytes(b"")
    assert checkpoints.newest() == {}


def test_a_write_that_fails_leaves_those_before(tmp_path, monkeypatch):
    checkpoints, paths = saved(tmp_path, 2)

    def full(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gcc.training.checkpoint.save_file", full)
    with pytest.raises(OutputError, match=r"cannot write .*checkpoint-000003.safetensors: No space left"):
        checkpoints.save({"number": 3})
    assert sorted((tmp_path / "checkpoints").iterdir()) == paths and checkpoints.newest()["number"] == 1


def test_clearing_takes_halves_along_and_leaves_what_is_not_ours(tmp_path):
    checkpoints, paths = saved(tmp_path, 2)
    (paths[0].parent / ".checkpoint-000003.safetensors.x1.safetensors").write_bytes(b"half")
    (paths[0].parent / "mine.txt").touch()
    checkpoints.clear()
    assert [path.name for path in paths[0].parent.iterdir()] == ["mine.txt"]
    (paths[0].parent / "mine.txt").unlink()
    checkpoints.clear()
    assert not paths[0].parent.exists()


def test_views_and_other_layouts_are_stored_whole(tmp_path):
    base = torch.arange(24.0).view(1, 2, 3, 4)
    state = {"base": base, "view": base[:, :1], "last": base.to(memory_format=torch.channels_last), "turned": base.mT}
    Checkpoints(tmp_path).save(state)
    found = Checkpoints(tmp_path).newest()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())

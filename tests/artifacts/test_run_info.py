"""When and how long a run has trained, all starts together."""

import json

import pytest

from gcc.artifacts.run_info import RunClock, read_info


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("gcc.artifacts.run_info.time.monotonic", lambda: now[0])
    return now


def test_the_time_of_all_starts_is_counted(tmp_path, clock):
    first = RunClock(tmp_path, "one")
    clock[0] += 5
    first.save()
    info = read_info(tmp_path)
    assert (info.seconds, info.finished, info.machine) == (5.0, "", "one")
    clock[0] += 1000
    second = RunClock(tmp_path, "two")
    clock[0] += 2.25
    second.save()
    clock[0] += 1
    second.finish()
    again = read_info(tmp_path)
    assert (again.seconds, again.started, again.machine) == (8.2, info.started, "two") and again.finished


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"started": "x", "finished": "", "seconds": 1, "machine": ""})])
def test_a_damaged_file_is_unknown(tmp_path, content):
    (tmp_path / "run.json").write_text(content)
    assert read_info(tmp_path) is None
    RunClock(tmp_path, "one").finish()
    assert read_info(tmp_path).machine == "one"

"""Runs as processes of their own: stopped, killed, and resumed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TINY = "--arch pix2pix --size 32 --set ngf=4 --set ndf=4 --set prune_width=4".split()
TINY += "--batch-size 4 --epochs 2 --budget 60% --checkpoint-every 4".split()
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TENSORS = ("student/model.safetensors", "teacher/model.safetensors", "teacher/discriminators.safetensors")


def start(folder, *arguments):
    command = [sys.executable, "-m", "gcc", "compress", *map(str, arguments)]
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def tensors(folder):
    return [(folder / name).read_bytes() for name in TENSORS]


def checkpoints(folder):
    return sorted(Path(folder).glob("checkpoints/checkpoint-*.safetensors"))


def stop_once_begun(folder, out, number, *arguments):
    """Send a signal to a run as soon as it has a checkpoint."""
    process = start(folder, *arguments)
    limit = time.monotonic() + 100
    while not checkpoints(folder / out) and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(number)
    return process.communicate(timeout=100), process.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    code, _, err = finish(folder, *TINY, "--out", "run")
    assert code == 0, err
    assert not (folder / "run" / "checkpoints").exists()
    return folder / "run"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_folders_name_is_enough_to_go_on(number, whole, tmp_path):
    (_, err), code = stop_once_begun(tmp_path, "run", number, *TINY, "--out", "run")
    assert code == 128 + number
    assert "go on with --resume run" in err and "Traceback" not in err
    code, out, err = finish(tmp_path, "--resume", "run")
    assert code == 0, err
    assert "resumed" in out and tensors(tmp_path / "run") == tensors(whole)
    assert (tmp_path / "run" / "metrics.jsonl").exists() and not checkpoints(tmp_path / "run")
    code, out, _ = finish(tmp_path, "--resume", "run")
    assert code == 0 and "is finished" in out


def test_kills_at_random_moments_lose_nothing(whole, tmp_path):
    moments = random.Random(5)
    for _ in range(4):
        process = start(tmp_path, *TINY, "--out", "run", "--resume", "auto")
        time.sleep(moments.uniform(2.0, 6.0))
        process.kill()
        process.communicate(timeout=100)
    code, _, err = finish(tmp_path, *TINY, "--out", "run", "--resume", "auto")
    assert code == 0, err
    assert tensors(tmp_path / "run") == tensors(whole)


def test_what_does_not_fit_is_refused_and_harms_nothing(tmp_path):
    stop_once_begun(tmp_path, "run", signal.SIGKILL, *TINY, "--out", "run")
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for arguments, told in (
        (("--resume", "run", "--set", "tau=0.3", "--epochs", "9"), "another recipe: epochs was 2 and is 9; "),
        ((*TINY, "--out", "run", "--resume", "auto", "--seed", "4"), "another recipe: seed was 0 and is 4; "),
        (("--resume", "nowhere"), "nowhere holds no run that can be resumed"),
        (("--resume", "run", "--checkpoint-every", "often"), "checkpoints every 'often': expected minutes such as 10m"),
    ):
        code, _, err = finish(tmp_path, *arguments)
        assert code == 2 and told in err and err.startswith("gcc: error: ") and len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    for path in checkpoints(tmp_path / "run"):
        path.write_bytes(b"")
    code, _, err = finish(tmp_path, "--resume", "run")
    assert code == 2 and "holds no checkpoint that is whole" in err

"""Runs as processes of their own: stopped, killed, and resumed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from PIL import Image

pytestmark = pytest.mark.slow
TINY = "--arch pix2pix --size 32 --set ngf=4 --set ndf=4 --set prune_width=4 --set decay_fraction=0".split()
TINY += "--batch-size 2 --epochs 3 --budget 60% --checkpoint-every 4 --evaluators l1".split()
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
TENSORS = ("student/model.safetensors", "teacher/model.safetensors", "teacher/discriminators.safetensors")


def obey_sigint():
    """Obey Ctrl-C, which background jobs of a shell ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module", autouse=True)
def _data(few_pairs):
    TINY.extend(["--data", str(few_pairs)])


def start(folder, *arguments):
    command = [sys.executable, "-m", "gcc", "compress", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, preexec_fn=obey_sigint, **pipes)


def finish(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def tensors(folder):
    return [(folder / name).read_bytes() for name in TENSORS]


def checkpoints(folder):
    return sorted(Path(folder).glob("checkpoints/checkpoint-*.safetensors"))


def begun(folder, out, *arguments):
    """Start a run, wait for its first checkpoint, and return its process."""
    process = start(folder, *arguments)
    limit = time.monotonic() + 100
    while not checkpoints(folder / out) and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.01)
    return process


def stop_once_begun(folder, out, number, *arguments):
    """Send a signal to a run as soon as it has a checkpoint."""
    process = begun(folder, out, *arguments)
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
def test_a_signal_saves_a_checkpoint_and_the_folder_is_enough_to_resume(number, whole, tmp_path):
    (_, err), code = stop_once_begun(tmp_path, "run", number, *TINY, "--out", "run")
    assert code == 128 + number
    assert "continue with `gcc compress --resume run`" in err and "Traceback" not in err
    code, out, err = finish(tmp_path, "--resume", "run")
    assert code == 0, err
    assert "resumed" in out and tensors(tmp_path / "run") == tensors(whole)
    assert (tmp_path / "run" / "metrics.jsonl").exists() and not checkpoints(tmp_path / "run")
    code, out, _ = finish(tmp_path, "--resume", "run")
    assert code == 0 and "is finished" in out
    code, _, err = finish(tmp_path, "--resume", "run", "--set", "tau=0.3")
    assert code == 2 and "contains a run with another recipe (tau was 0.5 and is 0.3): choose another --out" in err


def test_a_folder_in_which_another_process_trains_is_refused(whole, tmp_path):
    process = begun(tmp_path, "run", *TINY, "--out", "run", "--epochs", "40")
    for arguments in (["--resume", "run"], [*TINY, "--out", "run", "--resume", "auto"], [*TINY, "--out", "run", "--force"]):
        code, _, err = finish(tmp_path, *arguments)
        assert code == 2 and err.splitlines() == ["gcc: error: another process trains in run: wait until it ends, or stop it"], err
    assert process.poll() is None and not (tmp_path / "run" / "replaced").exists()
    process.kill()
    process.communicate(timeout=100)
    code, out, err = finish(tmp_path, "--resume", "run", "--dry-run")
    assert code == 0 and "resumed" in out, err


def test_kills_at_random_moments_lose_nothing(whole, tmp_path):
    moments = random.Random(5)
    for _ in range(3):
        process = start(tmp_path, *TINY, "--out", "run", "--resume", "auto")
        time.sleep(moments.uniform(2.0, 6.0))
        process.kill()
        process.communicate(timeout=100)
    code, _, err = finish(tmp_path, *TINY, "--out", "run", "--resume", "auto")
    assert code == 0, err
    assert tensors(tmp_path / "run") == tensors(whole)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 30 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "tmpfs", folder], check=False, capture_output=True).returncode:
        pytest.skip("the test needs its own file system, which only root may mount")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_full_disk_costs_one_line_and_the_run_is_resumed_once_there_is_room(whole, small_disk, tmp_path):
    process = begun(tmp_path, small_disk / "run", *TINY, "--out", small_disk / "run")
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    _, err = process.communicate(timeout=100)
    (line,) = [line for line in err.splitlines() if line.startswith("gcc: error: ")]
    assert process.returncode == 2 and "No space left on device" in line and "Traceback" not in err
    filler.unlink()
    code, _, err = finish(tmp_path, "--resume", small_disk / "run")
    assert code == 0, err
    assert tensors(small_disk / "run") == tensors(whole)


def test_a_missing_image_and_a_killed_reader_lose_no_step(tmp_path):
    """Both happen between two steps, and all steps before are saved."""
    folder = tmp_path / "data" / "train"
    folder.mkdir(parents=True)
    for number in range(12):
        # Almost equal images: fakes of them do not look like a collapse, which would cost a report in every epoch.
        Image.new("RGB", (64, 32), (100 + number, 100, 200)).save(folder / f"{number}.png")
    shutil.copytree(folder, tmp_path / "data" / "test")
    settings = [*TINY, "--data", "data", "--set", "decay_fraction=0", "--workers", "1", "--batch-size", "4", "--epochs", "40"]
    assert finish(tmp_path, *settings, "--out", "whole")[0] == 0

    process = begun(tmp_path, "run", *settings, "--out", "run")
    (folder / "7.png").rename(tmp_path / "7.png")
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2 and "7.png: there is no such file" in err
    assert "continue with `gcc compress --resume run`" in err and "Traceback" not in err
    (tmp_path / "7.png").rename(folder / "7.png")

    process = start(tmp_path, "--resume", "run")
    before = len((tmp_path / "run" / "metrics.jsonl").read_bytes())
    while len((tmp_path / "run" / "metrics.jsonl").read_bytes()) <= before and process.poll() is None:
        time.sleep(0.01)
    (reader,) = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout.split()[:1]
    os.kill(int(reader), signal.SIGKILL)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 2 and "a process that reads images was killed" in err and "Traceback" not in err
    code, _, err = finish(tmp_path, "--resume", "run")
    assert code == 0, err
    assert tensors(tmp_path / "run") == tensors(tmp_path / "whole")


@pytest.mark.usefixtures("handled_signals")
def test_a_closed_terminal_saves_the_run_and_a_resume_that_does_not_fit_changes_nothing(tmp_path):
    process = begun(tmp_path, "run", *TINY, "--out", "run")
    # As if the terminal were closed, or the readers of the pipes were gone.
    process.stdout.close()
    process.stderr.close()
    process.send_signal(signal.SIGHUP)
    assert process.wait(timeout=100) == 128 + signal.SIGHUP
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    for arguments, message in (
        (("--resume", "run", "--set", "tau=0.3", "--epochs", "9"), "another recipe: epochs was 3 and is 9; "),
        ((*TINY, "--out", "run", "--resume", "auto", "--seed", "4"), "another recipe: seed was 0 and is 4; "),
        (("--resume", "run", "--out", "elsewhere"), "leave out --out"),
        (("--resume", "nowhere"), "--resume nowhere: there is no such file or folder"),
        (("--resume", "run", "--checkpoint-every", "often"), "checkpoints every 'often': expected minutes such as 10m"),
    ):
        code, _, err = finish(tmp_path, *arguments)
        assert code == 2 and message in err and err.startswith("gcc: error: ") and len(err.splitlines()) == 1
    assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before
    for path in checkpoints(tmp_path / "run"):
        path.write_bytes(b"")
    code, _, err = finish(tmp_path, "--resume", "run")
    assert code == 2 and "it has no complete checkpoint" in err

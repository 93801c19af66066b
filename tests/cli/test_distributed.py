"""`gcc compress` by several processes: finished, stopped, killed, and resumed."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers.processes import environment, torchrun

pytestmark = pytest.mark.slow
TINY = "--arch pix2pix --size 32 --set ngf=4 --set ndf=4 --set prune_width=4".split()
TINY += "--batch-size 4 --epochs 3 --budget 60% --checkpoint-every 4 --out run".split()
LIMIT = 100


@pytest.fixture(scope="module", autouse=True)
def _data(few_pairs):
    TINY.extend(["--data", str(few_pairs)])


def start(folder, *arguments):
    command = torchrun(2, "-m", "gcc", "compress", *arguments)
    return subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder, *arguments):
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=200)
    return process.returncode, out, err


def begun(folder):
    """Start a run, wait for its first checkpoint, and return its process."""
    process = start(folder, *TINY)
    limit = time.monotonic() + LIMIT
    while not list(folder.glob("run/checkpoints/checkpoint-*.safetensors")) and time.monotonic() < limit and process.poll() is None:
        time.sleep(0.01)
    return process


def processes_of(launcher):
    """Return the process IDs that `torchrun` has started on this machine, by rank."""
    ranks = {}
    for name in Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split():
        variables = Path(f"/proc/{name}/environ").read_bytes().split(b"\0")
        ranks |= {int(entry[5:]): int(name) for entry in variables if entry.startswith(b"RANK=")}
    return ranks


def test_only_the_main_process_prints_and_writes_and_an_indivisible_batch_is_refused(tmp_path):
    code, out, err = finish(tmp_path, *TINY, "--workers", "1")
    assert code == 0, err
    assert out.count("student saved in") == 1 and "2 processes" in out and (tmp_path / "run/student/model.safetensors").is_file()
    metrics = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert len(metrics) == len(set(metrics)) > 0
    code, _, err = finish(tmp_path, *TINY, "--batch-size", "5", "--out", "odd")
    assert code != 0 and "batches of 5 cannot be shared by 2 processes" in err
    assert not (tmp_path / "odd").exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="the ranks of processes are read from Linux's /proc")
def test_a_killed_process_ends_the_job_in_seconds_and_the_checkpoint_resumes_it(tmp_path):
    process = begun(tmp_path)
    os.kill(processes_of(process.pid)[1], signal.SIGKILL)
    killed = time.monotonic()
    _, err = process.communicate(timeout=LIMIT)
    assert process.returncode != 0 and time.monotonic() - killed < 30
    assert "gcc: error: another process of this run has exited" in err or "SIGTERM" in err
    assert "exitcode  : -9" in err
    code, out, err = finish(tmp_path, "--resume", "run")
    assert code == 0, err
    assert (tmp_path / "run/student/model.safetensors").is_file()


def test_the_launcher_passes_a_signal_on_and_the_run_is_saved(tmp_path):
    process = begun(tmp_path)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=LIMIT)
    assert err.count("gcc: stopped at ") == 1 and "continue with `gcc compress --resume run`" in err
    code, _, err = finish(tmp_path, "--resume", "run")
    assert code == 0, err

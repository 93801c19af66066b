"""Kill a run at random moments, also during writes, resume it until it ends, and compare it bit by bit with an uninterrupted run.

    python benchmarks/soak.py --arch pix2pix --kills 100

Every process is a real one, ended by SIGKILL or SIGTERM, and forked from one that has imported torch and generated the demo data. Half of
the moments are drawn from the first seconds of a process; the other half are moments at which a checkpoint is being written.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from gcc import Compressor, Teacher
from gcc.cli import main as command

TINY = {"size": 32, "ngf": 4, "ndf": 4, "prune_width": 4, "epochs": 2, "batch_size": 40, "budget": "60%", "lr_alpha": 0.3}
SECONDS = 4.0
"""A process is killed within this time."""
WRITES = 12
"""A process is killed within this number of checkpoints."""
WRITE_SECONDS = 0.004
"""Time in which a checkpoint of this size is written."""
EXPECTED = {signal.SIGKILL: {-signal.SIGKILL}, signal.SIGTERM: {-signal.SIGTERM, 128 + signal.SIGTERM}}
"""Exit codes by the signal that ended the process. Before the first iteration, SIGTERM has its usual effect."""


def compress(arch: str, out: Path) -> None:
    """Compress, or resume, as the command does."""
    log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = [f"--set={name}={value}" for name, value in TINY.items()]
    command(["compress", "--arch", arch, *settings, "--checkpoint-every", "1", "--out", str(out), "--resume", "auto"], prog_name="gcc")


def start(arch: str, out: Path) -> BaseProcess:
    """Start a process that compresses."""
    process = get_context("fork").Process(target=compress, args=(arch, out))
    process.start()
    return process


def unfinished(out: Path) -> set[str]:
    """Return the temporary files of checkpoints that are being written, or whose writing was cut off."""
    return {path.name for path in out.glob("checkpoints/.checkpoint-*")}


def wait_for_writes(process: BaseProcess, out: Path, count: int) -> None:
    """Wait until a process begins to write its `count`-th checkpoint, or ends."""
    begun = unfinished(out)
    count += len(begun)
    while len(begun) < count and process.is_alive():
        begun |= unfinished(out)
        time.sleep(0.0005)


def end(process: BaseProcess, out: Path, moments: random.Random) -> signal.Signals | None:
    """End a process at a random moment, and return the signal. None if the process ended by itself."""
    number = moments.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    if moments.random() < 0.5:
        process.join(moments.uniform(0, SECONDS))
    else:
        wait_for_writes(process, out, moments.randint(1, WRITES))
        time.sleep(moments.uniform(0, WRITE_SECONDS))
    if process.is_alive():
        os.kill(process.pid or 0, number)
    process.join()
    if process.exitcode and process.exitcode not in EXPECTED[number]:
        sys.exit(f"{number.name} ended a process with {process.exitcode}: see {out}.log")
    return number if process.exitcode else None


def output(out: Path) -> dict[str, bytes]:
    """Return the weights and metrics of a finished run, by file."""
    files = [*(path for role in ("student", "teacher") for path in (out / role).rglob("*.safetensors")), out / "metrics.jsonl"]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def soak(arch: str, kills: int, folder: Path, moments: random.Random) -> None:
    """Kill and resume runs of a family until there were `kills` kills and the last run has ended."""
    Compressor(Teacher.create(arch), **TINY).check()
    start(arch, folder / "whole").join()
    expected, killed, writes, runs, begin = output(folder / "whole"), 0, 0, 0, time.monotonic()
    while killed < kills:
        out = folder / str(runs)
        while True:
            before = unfinished(out)
            if end(start(arch, out), out, moments) is None:
                break
            killed += 1
            writes += bool(unfinished(out) - before)
        if output(out) != expected:
            sys.exit(f"{out} differs from {folder / 'whole'}")
        runs += 1
        hours = (time.monotonic() - begin) / 3600
        print(f"{arch}: {killed} kills, {writes} of them during a write, {runs} runs bit-equal, {hours:.2f} h", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", default="pix2pix,cyclegan,sagan,srgan", help="families, joined by commas")
    parser.add_argument("--kills", type=int, default=100, help="least number of kills per family")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    for arch in options.arch.split(","):
        (folder / arch).mkdir()
        soak(arch, options.kills, folder / arch, random.Random(f"{options.seed} {arch}"))


if __name__ == "__main__":
    main()

"""A run that is killed at random moments, writes included, and resumed until it ends, beside one that was never stopped: bit by bit.

    python benchmarks/soak.py --arch pix2pix --kills 100

Every process is a real one, ended by SIGKILL or SIGTERM; they are forked from one that has imported torch and drawn the demo data. Half of
the moments are drawn from the first seconds of a process, half are those at which a checkpoint has been begun and is not yet in its place.
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
"""Within which a process is killed, or as many seconds more on a busy machine."""
WRITES = 12
"""Checkpoints within which a process is killed."""
TORN = 0.004
"""Seconds within which a checkpoint of this size is written."""
EXPECTED = {signal.SIGKILL: {-signal.SIGKILL}, signal.SIGTERM: {-signal.SIGTERM, 128 + signal.SIGTERM}}
"""Exit codes by what has ended a process; SIGTERM has its usual effect before the first iteration."""


def play(arch: str, out: Path) -> None:
    """Compress, or go on with it, as the command does."""
    log = os.open(f"{out}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = [f"--set={name}={value}" for name, value in TINY.items()]
    command(["compress", "--arch", arch, *settings, "--checkpoint-every", "1", "--out", str(out), "--resume", "auto"], prog_name="gcc")


def started(arch: str, out: Path) -> BaseProcess:
    process = get_context("fork").Process(target=play, args=(arch, out))
    process.start()
    return process


def torn(out: Path) -> set[str]:
    """Return the checkpoints that have been begun and are not in their place."""
    return {path.name for path in out.glob("checkpoints/.checkpoint-*")}


def wait_for_writes(process: BaseProcess, out: Path, count: int) -> None:
    """Wait until a process has begun its `count`-th checkpoint, or has ended."""
    seen = torn(out)
    count += len(seen)
    while len(seen) < count and process.is_alive():
        seen |= torn(out)
        time.sleep(0.0005)


def ended(process: BaseProcess, out: Path, chance: random.Random) -> signal.Signals | None:
    """End a process at a random moment, and return by what; none where it has ended by itself."""
    number = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
    if chance.random() < 0.5:
        process.join(chance.uniform(0, SECONDS))
    else:
        wait_for_writes(process, out, chance.randint(1, WRITES))
        time.sleep(chance.uniform(0, TORN))
    if process.is_alive():
        os.kill(process.pid or 0, number)
    process.join()
    if process.exitcode and process.exitcode not in EXPECTED[number]:
        sys.exit(f"{number.name} ended a process with {process.exitcode}: see {out}.log")
    return number if process.exitcode else None


def left(out: Path) -> dict[str, bytes]:
    """Return what a finished run has made, and the record of its losses."""
    files = [*(path for side in ("student", "teacher") for path in (out / side).rglob("*.safetensors")), out / "metrics.jsonl"]
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def soak(arch: str, kills: int, folder: Path, chance: random.Random) -> None:
    """Kill and resume runs of a family until there were as many kills, and the last of them has ended."""
    Compressor(Teacher.create(arch), **TINY).check()
    started(arch, folder / "whole").join()
    whole, killed, writes, runs, start = left(folder / "whole"), 0, 0, 0, time.monotonic()
    while killed < kills:
        out = folder / str(runs)
        while True:
            before = torn(out)
            if ended(started(arch, out), out, chance) is None:
                break
            killed += 1
            writes += bool(torn(out) - before)
        if left(out) != whole:
            sys.exit(f"{out} is not as {folder / 'whole'} is")
        runs += 1
        hours = (time.monotonic() - start) / 3600
        print(f"{arch}: {killed} kills, {writes} of them in a write, {runs} runs bit-equal, {hours:.2f} h", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", default="pix2pix,cyclegan,sagan,srgan", help="joined by commas")
    parser.add_argument("--kills", type=int, default=100, help="of each, at least")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    for arch in asked.arch.split(","):
        (folder / arch).mkdir()
        soak(arch, asked.kills, folder / arch, random.Random(f"{asked.seed} {arch}"))


if __name__ == "__main__":
    main()

"""Processes that write checkpoints and are killed at random moments, most of them in the midst of a write."""

import os
import random
import signal
import sys
import time
from itertools import count
from pathlib import Path

import torch

from gcc.training.checkpoint import Checkpoints

NUMBERS = 1 << 18
"""In a checkpoint's tensor, which takes long enough to be written."""


def snapshot(number):
    return {"number": number, "tensor": torch.full((NUMBERS,), float(number))}


def killed(out, begin, seconds):
    """Let a process write checkpoints of these numbers and kill it."""
    process = os.fork()
    if not process:
        checkpoints = Checkpoints(out)
        for number in count(begin):
            checkpoints.save(snapshot(number))
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def main(out, kills):
    """Print how many processes were killed in a write, once the newest checkpoint was whole after each."""
    checkpoints, moments, torn = Checkpoints(out), random.Random(3), 0
    checkpoints.save(snapshot(0))
    newest = 0
    for _ in range(kills):
        killed(out, newest + 1, moments.uniform(0, 0.03))
        torn += any(checkpoints.folder.glob(".*"))
        found = checkpoints.newest()
        assert found["number"] >= newest and torch.equal(found["tensor"], snapshot(found["number"])["tensor"])
        newest = found["number"]
        checkpoints.begin()
    print(torn)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

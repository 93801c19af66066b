"""Processes that write checkpoints and are killed at random moments, mostly during a write."""

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
"""Elements of a checkpoint's tensor: enough for a write that takes a while."""


def state(number):
    return {"number": number, "tensor": torch.full((NUMBERS,), float(number))}


def write_until_killed(out, begin, seconds):
    """Let a process write checkpoints with numbers from `begin` on, and kill it after `seconds`."""
    process = os.fork()
    if not process:
        checkpoints = Checkpoints(out)
        for number in count(begin):
            checkpoints.save(state(number))
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def main(out, kills):
    """Check that the newest checkpoint is undamaged after each kill, and print how many processes were killed during a write."""
    checkpoints, moments, interrupted = Checkpoints(out), random.Random(3), 0
    checkpoints.save(state(0))
    newest = 0
    for _ in range(kills):
        write_until_killed(out, newest + 1, moments.uniform(0, 0.03))
        interrupted += any(checkpoints.folder.glob(".*"))
        loaded = checkpoints.newest()
        assert loaded["number"] >= newest and torch.equal(loaded["tensor"], state(loaded["number"])["tensor"])
        newest = loaded["number"]
        checkpoints.begin()
    print(interrupted)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

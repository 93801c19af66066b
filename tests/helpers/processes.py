"""Starts several ranks that train together, with `torchrun`."""

import json
import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).with_name("train_together.py")


def environment():
    """Return an environment in which the tests' modules can be imported, and tiny networks run on one thread."""
    root = Path(__file__).parents[2]
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])}


def torchrun(world, *command):
    """Return the command line that starts `world` processes on this machine."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={world}", *map(str, command)]


def together(world, task, out, **settings):
    """Run a task of `train_together` in `world` processes, and return the output folder of each rank."""
    arguments = [str(PROGRAM), task, str(out), json.dumps(settings)]
    command = torchrun(world, *arguments) if world > 1 else [sys.executable, *arguments]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return [out / str(rank) for rank in range(world)]

"""Random seeds: the seed of the run, and one derived from it for each use, so that uses are independent."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def derive_seed(seed: int, use: str) -> int:
    """Return a 63-bit seed for one use of a run's seed, such as "student G".

    >>> derive_seed(0, "teacher") == derive_seed(0, "teacher") != derive_seed(0, "student")
    True
    """
    digest = hashlib.sha256(f"{seed} {use}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(seed: int, use: str) -> Iterator[None]:
    """Seed torch's random numbers on the CPU with a derived seed inside this context, and restore their state after it."""
    with torch.random.fork_rng(devices=[]):
        # `torch.manual_seed` would also seed every GPU, which `fork_rng` does not undo here.
        torch.default_generator.manual_seed(derive_seed(seed, use))
        yield


def random_states(device: torch.device) -> dict[str, Any]:
    """Return the states of the global random generators: torch on the CPU and on the device, numpy, and Python."""
    version, numbers, gauss = random.getstate()
    legacy: Any = np.random.get_state()
    kind, key, *rest = legacy
    states = {"torch": torch.get_rng_state(), "python": [version, list(numbers), gauss], "numpy": [kind, key.tolist(), *rest]}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random(states: Mapping[str, Any], device: torch.device) -> None:
    """Restore what `random_states` returned; the generator of a GPU that it does not hold keeps its state."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)

"""Random seeds: one for the run, and one derived from it for every use, so that no use disturbs another."""

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

    >>> derived(0, "teacher") == derived(0, "teacher") != derived(0, "student")
    True
    """
    digest = hashlib.sha256(f"{seed} {use}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@contextmanager
def seeded(seed: int, use: str) -> Iterator[None]:
    """Draw torch's random numbers on the CPU from a derived seed inside this context, and as before after it."""
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which would also seed every GPU for good.
        torch.default_generator.manual_seed(derive_seed(seed, use))
        yield


def random_states(device: torch.device) -> dict[str, Any]:
    """Return where the global random numbers of torch, on the CPU and on the device, numpy and Python stand."""
    version, numbers, gauss = random.getstate()
    legacy: Any = np.random.get_state()
    kind, key, *rest = legacy
    states = {"torch": torch.get_rng_state(), "python": [version, list(numbers), gauss], "numpy": [kind, key.tolist(), *rest]}
    return states | ({"cuda": torch.cuda.get_rng_state(device)} if device.type == "cuda" else {})


def restore_random(states: Mapping[str, Any], device: torch.device) -> None:
    """Take up what `random_states` returned; a device that it does not know of goes on as it is."""
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers), gauss))
    np.random.set_state(tuple(states["numpy"]))
    torch.set_rng_state(states["torch"])
    if "cuda" in states and device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)

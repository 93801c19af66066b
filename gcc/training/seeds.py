"""Random seeds: one for the run, and one derived from it for every use, so that no use disturbs another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def derived(seed: int, use: str) -> int:
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
        torch.default_generator.manual_seed(derived(seed, use))
        yield

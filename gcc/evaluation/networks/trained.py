"""Networks in evaluation mode with trained weights from a file, and how protocols name the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from gcc.utils.weights import read_matching, short_sha256

N = TypeVar("N", bound=nn.Module)


def trained(build: Callable[[], N], path: Path, what: str, device: torch.device) -> N:
    """Return a network with the weights of a file, frozen and in evaluation mode; random numbers go on as if it had not been built.

    Args:
        build: returns the untrained network.
        path: the file.
        what: the network in messages.
        device: the device that it runs on.

    Raises:
        ArtifactError: the file cannot be read, or contains another network.
    """
    with torch.random.fork_rng(devices=[]):
        network = build()
    network.load_state_dict(read_matching(path, network.state_dict(), what))
    return network.to(device).eval().requires_grad_(False)


def file_and_digest(path: Path) -> str:
    """Return the name of a file of weights and the start of its SHA-256, which identify the weights in a protocol."""
    return f"{path.name} (sha256 {short_sha256(path)})"

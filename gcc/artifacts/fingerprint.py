"""What a generator returns for one input: whether a user's code still makes the generator that was saved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcc.errors import ArtifactError
from gcc.models.calls import copy_of, located_errors

VALUES = 16
"""The values of an output that are compared."""
TOLERANCE = 0.01
"""The largest difference of a value, as a share of the largest one, that counts as rounding on another machine."""


def fingerprint(network: nn.Module, shape: Sequence[int]) -> list[float]:
    """Return evenly spaced values of a generator's output for a random input; none if it draws random numbers, or returns NaN or infinity.

    Args:
        network: the generator; a copy runs, on the CPU and in evaluation mode.
        shape: of its input, (1, ...).
    """
    with torch.random.fork_rng(devices=[]):
        first, second = (_values(network, shape) for _ in range(2))
    return first.tolist() if torch.equal(first, second) and first.isfinite().all() else []


def require_same_outputs(network: nn.Module, shape: Sequence[int], saved: Sequence[float], remedy: str) -> None:
    """Refuse a generator that does not return what the saved one did.

    Args:
        network: the generator, with the weights that were saved.
        shape: of its input, (1, ...).
        saved: its fingerprint when it was saved.
        remedy: what to do, for the message.

    Raises:
        ArtifactError: it returns something else.
        GccError: it does not run.
    """
    with located_errors(network, f"expected a generator that runs on {tuple(shape)}, as the saved one did; {remedy}"):
        values, expected = _values(network, shape), torch.tensor(saved)
    if len(values) != len(expected) or not (values - expected).abs().max() <= TOLERANCE * expected.abs().max():
        raise ArtifactError(
            "with the saved weights, the generator does not return what it returned when it was saved: its code has changed, or it has "
            f"tensors that its state_dict lacks and that are drawn anew, which persistent buffers would keep; {remedy}"
        )


def parse_fingerprint(value: Any) -> list[float]:
    """Return the fingerprint of a `config.json`.

    Raises:
        ArtifactError: it is damaged.
    """
    if not isinstance(value, list) or len(value) > VALUES or not all(isinstance(one, float) and math.isfinite(one) for one in value):
        raise ArtifactError(f"fingerprint = {value!r}: expected at most {VALUES} numbers")
    return value


def _values(network: nn.Module, shape: Sequence[int]) -> Tensor:
    example = torch.randn(tuple(shape), generator=torch.Generator().manual_seed(0), device="cpu")
    with torch.no_grad():
        output: Tensor = copy_of(network).cpu().eval()(example).flatten().float()
    return output[torch.linspace(0, len(output) - 1, min(VALUES, len(output))).long()]

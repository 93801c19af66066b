"""The log of a run, `metrics.jsonl`: its phases, and the losses that each line averages."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

import torch
from torch import Tensor

from gcc.utils.files import explained
from gcc.utils.json_text import json_text


class Phase(StrEnum):
    """A phase of a run, as `metrics.jsonl`, checkpoints and sample grids name it; the order of the members is the order in time."""

    SEARCH_PRETRAIN = "search_pretrain"
    SEARCH = "search"
    PRETRAIN = "pretrain"
    TRAIN = "train"
    TEACHER = "teacher"

    @property
    def title(self) -> str:  # type: ignore[override]
        """The name of the phase for readers."""
        return _TITLES[self]


POSITION = ("phase", "epoch", "step")
"""The fields of every line of `metrics.jsonl`; all others are values by name."""
_TITLES = {
    Phase.SEARCH_PRETRAIN: "1/2 pre-training",
    Phase.SEARCH: "1/2 sparse training",
    Phase.PRETRAIN: "2/2 pre-training",
    Phase.TRAIN: "2/2 joint training",
    Phase.TEACHER: "teacher training",
}


def numbers(scalars: Mapping[str, Tensor]) -> dict[str, float]:
    """Return the values of scalars on one device, by name, with one transfer from the device."""
    if not scalars:
        return {}
    return dict(zip(scalars, torch.stack([scalar.float().reshape(()) for scalar in scalars.values()]).tolist(), strict=True))


class Window:
    """Losses that are collected on the device and read together, so that no step waits for the device."""

    def __init__(self) -> None:
        self._losses: dict[str, list[Tensor]] = {}

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Add the losses of one step."""
        for name, loss in losses.items():
            self._losses.setdefault(name, []).append(loss)

    @property
    def is_empty(self) -> bool:
        """Whether no losses have been added since the last call of `means`."""
        return not self._losses

    def means(self) -> dict[str, float]:
        """Return the mean of every loss since the last call, with one transfer from the device."""
        means = numbers({name: torch.stack(losses).float().mean() for name, losses in self._losses.items()})
        self._losses.clear()
        return means

    def state_dict(self) -> dict[str, Tensor]:
        """Return the losses since the last call of `means`, (N,) by name. The device is not synchronised."""
        return {name: torch.stack(losses) for name, losses in self._losses.items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
        self._losses = {name: list(losses.unbind()) for name, losses in state.items()}


def line_of(record: Mapping[str, object]) -> str:
    """Return a record as a line of JSON, with null for losses that are not finite."""
    return json_text(record) + "\n"


def append_line(path: Path, record: Mapping[str, object]) -> None:
    """Append one line of JSON to a file.

    Raises:
        OutputError: the file cannot be written.
    """
    with explained(path), path.open("a", encoding="utf-8") as file:
        file.write(line_of(record))

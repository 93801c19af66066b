"""The losses and metrics of a run over time, as `metrics.jsonl` has them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from gcc.artifacts.metrics_log import Phase, Window
from gcc.training.loss_tree import LossTree, flattened
from gcc.training.step import Step

SECONDS = 5.0
"""Time between two readings of the losses, which synchronise with the device."""


class History:
    """Collects the losses of every step on the device, and their means whenever they are read.

    Attributes:
        lines: the lines of `metrics.jsonl` that nothing has taken yet: phase, epoch, step, and values by name.
        latest: the losses that were read last, by name.
    """

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.latest: dict[str, float] = {}
        self._window = Window()
        self._phase: Phase | None = None
        self._time = time.monotonic()

    def add(self, step: Step) -> None:
        """Add the losses of a step. The device is not synchronised."""
        if step.phase != self._phase:
            # The last phase's losses are of other networks.
            self.latest, self._phase = {}, step.phase
        self._window.add(flattened(step.losses))

    def is_due(self, step: Step) -> bool:
        """Return whether the losses should be read now: every few seconds, and at the end of every epoch."""
        return step.ends_epoch or time.monotonic() - self._time > SECONDS

    def read(self, step: Step, monitored: LossTree) -> None:
        """Append a line with the means of the losses since the last reading; nothing if there are none.

        Args:
            step: the last step.
            monitored: slowly changing values to read with them.
        """
        if self._window.is_empty:
            return
        self._window.add(flattened(monitored))
        self.latest = self._window.means()
        self._time = time.monotonic()
        self._append(step, self.latest)

    def add_metrics(self, step: Step) -> None:
        """Append a line with the metrics of a step, if it has any."""
        if step.metrics:
            self._append(step, flattened({"val": step.metrics}))

    def take(self) -> list[dict[str, Any]]:
        """Return the lines since the last call, and forget them."""
        lines, self.lines = self.lines, []
        return lines

    def state_dict(self) -> dict[str, Any]:
        """Return references to the lines and to the losses that are not read yet."""
        return {"lines": list(self.lines), "unread": self._window.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, with its tensors on the device of the run."""
        self.lines = list(state["lines"])
        self._window.load_state_dict(state["unread"])

    def _append(self, step: Step, values: Mapping[str, float]) -> None:
        self.lines.append({"phase": step.phase, "epoch": step.epoch, "step": step.number, **values})

"""The units of a run: a stage of epochs, and one training step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gcc.artifacts.metrics_log import Phase, numbers
from gcc.training.best import Metrics
from gcc.training.context import Stream
from gcc.training.loss_tree import LossTree, flattened
from gcc.training.pair import GANPair
from gcc.training.step_runner import TrainingStep


@dataclass(frozen=True)
class Stage:
    """Epochs of one phase.

    Attributes:
        phase: the phase.
        epochs: the number of epochs.
        step: trains on one batch from each stream, and returns the losses.
        streams: where the batches come from.
        pairs: the pairs whose learning rates follow the recipe's schedule.
        most_steps: the number of steps after which the stage ends, within an epoch. None means that every epoch runs to its end.
    """

    phase: Phase
    epochs: int
    step: TrainingStep
    streams: tuple[Stream, ...]
    pairs: tuple[GANPair, ...] = ()
    most_steps: int | None = None


@dataclass(frozen=True, repr=False)
class Step:
    """One training step.

    Attributes:
        phase: what is being trained, such as `Phase.SEARCH` in the first step of Algorithm 1.
        epoch: counted from 1.
        epochs: number of epochs of the phase.
        number: number of this step in the phase, counted from 1.
        total: number of steps of the phase.
        losses: by role and name, such as `losses["student"]["G"]`; scalars on the device. Reading one synchronises with the device.
        ends_epoch: whether it is the last step of its epoch.
        metrics: on the validation images, by role and generator, if the epoch was evaluated.
        warnings: signs of collapse, by role.
    """

    phase: Phase
    epoch: int
    epochs: int
    number: int
    total: int
    losses: LossTree
    ends_epoch: bool
    metrics: Metrics = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.phase}, epoch {self.epoch}/{self.epochs}, step {self.number}/{self.total})"

    def values(self) -> dict[str, float]:
        """Return losses and metrics by the names of `metrics.jsonl`, such as `student/G`. This synchronises with the device once."""
        return numbers(flattened(self.losses)) | flattened({"val": self.metrics})

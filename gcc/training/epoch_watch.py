"""Watches how a stage of training goes: finite losses in every stage, and in an adversarial one collapse and the best epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gcc.artifacts.metrics_log import Phase
from gcc.errors import TrainingError
from gcc.training.anomaly import FiniteLosses, not_finite
from gcc.training.best import BestCheckpoint, Metrics
from gcc.training.collapse import CollapsePolicy, Stateful
from gcc.training.context import RunContext
from gcc.training.loss_tree import LossTree
from gcc.training.pair import GANPair
from gcc.training.step import Stage
from gcc.utils.state_tree import on_device

GAN_PHASES = (Phase.TRAIN, Phase.TEACHER)
"""The phases that are watched for collapse, and whose epochs compete for the best one."""


@dataclass(frozen=True)
class Findings:
    """What was found at the end of an epoch.

    Attributes:
        metrics: on the validation images, by role and generator, if the epoch was evaluated.
        warnings: signs of collapse, by role.
    """

    metrics: Metrics = field(default_factory=dict)
    warnings: Mapping[str, str] = field(default_factory=dict)


class EpochWatch:
    """Watches the losses of every step of a stage, and checks at the end of every epoch how training goes.

    Attributes:
        collapse: the policy that watches for collapse, in `GAN_PHASES`.
        best: the best epoch of each pair, in `GAN_PHASES`, if validation images rank the epochs.

    Args:
        context: what the run works with.
        collapse: the policy that watches for collapse. None leaves collapse unseen.
        best: the best epochs so far. None evaluates no epoch.
    """

    def __init__(self, context: RunContext, collapse: CollapsePolicy | None = None, best: BestCheckpoint | None = None) -> None:
        self.collapse = collapse
        self.best = best
        self._context = context
        self._finite = FiniteLosses()

    @classmethod
    def of(cls, context: RunContext, phase: Phase, pairs: Mapping[str, GANPair], trained: Stateful, metric: str) -> EpochWatch:
        """Return the watch of a stage.

        Args:
            context: what the run works with.
            phase: the phase of the stage.
            pairs: the pairs by role.
            trained: the state that a rollback restores.
            metric: the evaluator that ranks the epochs. Empty if nothing ranks them.
        """
        if phase not in GAN_PHASES:
            return cls(context)
        best = BestCheckpoint(context.validation, pairs, metric) if context.validation and metric else None
        return cls(context, CollapsePolicy(context, pairs, trained), best)

    def begin(self, completed: int) -> None:
        """Begin an epoch.

        Args:
            completed: the epochs that are over.
        """
        if self.collapse:
            self.collapse.begin(completed)

    def update(self, number: int, losses: LossTree) -> None:
        """Take in the losses of step `number`, counted from 1, without synchronising with the device."""
        self._finite.update(number, losses)
        if self.collapse:
            self.collapse.update(losses)

    def end_epoch(self, stage: Stage, epoch: int) -> Findings:
        """Synchronise with the device, and check how an epoch went. This reads images.

        Raises:
            TrainingError: a loss is not finite, or training collapsed, and the run does not go back to an earlier epoch.
            DataError: an image cannot be read.
        """
        if self.collapse:
            warnings = self.collapse.after_epoch(epoch, self._finite.broken)
            findings = Findings({} if self.collapse.rolled_back else self._evaluate(stage, epoch), warnings)
        else:
            self.require_finite(stage.phase, epoch)
            findings = Findings()
        self._finite.reset()
        return findings

    def _evaluate(self, stage: Stage, epoch: int) -> Metrics:
        """Return the metrics of an epoch if it is one of those that are evaluated."""
        is_due = epoch % self._context.recipe.evaluate_every == 0 or epoch == stage.epochs
        return self.best.update(epoch) if self.best and is_due else {}

    def require_finite(self, phase: Phase, epoch: int) -> None:
        """Refuse losses that are not finite. This synchronises with the device.

        Raises:
            TrainingError: a loss of this epoch is not finite; the message names the first ones.
        """
        number, paths = self._finite.broken
        if paths:
            raise TrainingError(not_finite(paths, number, f"{phase} epoch {epoch}", self._context.execution.dtype))

    def state_dict(self) -> dict[str, Any]:
        """Return references to the state as nested plain values and tensors."""
        return {
            "finite": self._finite.state_dict(),
            "collapse": self.collapse.state_dict() if self.collapse else {},
            "best": self.best.state_dict() if self.best else {},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, on any device."""
        # Checkpoints of earlier versions lack this one.
        if finite := state.get("finite"):
            self._finite.load_state_dict(on_device(finite, self._context.device))
        if self.collapse:
            self.collapse.load_state_dict(state["collapse"])
        if self.best:
            self.best.load_state_dict(state["best"])

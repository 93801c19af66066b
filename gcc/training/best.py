"""Which epoch of each pair is the result, and the best epochs by the metrics on the validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from gcc.evaluation.collection import split_names
from gcc.evaluation.split import SplitEvaluation
from gcc.models.calls import copy_of
from gcc.registry import EVALUATORS, MetricKey, Networks
from gcc.training.context import RunContext
from gcc.training.pair import GANPair

Metrics = Mapping[str, Mapping[str, Mapping[MetricKey, float]]]
"""Metrics by role and generator."""


@dataclass(frozen=True)
class EpochRule:
    """Which epoch is the result; one rule for all pairs of a run.

    Pixel-wise metrics such as L1 are best for blurred images, which early epochs have, so only a perceptual metric selects by itself.

    Attributes:
        metric: the evaluator that ranks the epochs on the validation images. Empty if nothing ranks them.
        selects: whether the best epoch by `metric` is the result. Otherwise it is the last epoch, and the best one is reported, too.
        reason: why, for the plan of a run.
    """

    metric: str
    selects: bool
    reason: str

    @classmethod
    def of(cls, context: RunContext) -> EpochRule:
        """Return the rule that the recipe's `result_epoch` gives with these evaluators and data.

        Raises:
            PluginError: an evaluator is unknown or broken.
        """
        names, wanted = split_names(context.recipe.evaluators), context.recipe.result_epoch
        if not names:
            return cls("", False, "no evaluator ranks the epochs")
        if context.data.validation is None:
            return cls("", False, "the data has no validation images of its own to rank the epochs")
        if wanted == "last":
            return cls(names[0], False, "result_epoch = last")
        if wanted != "auto":
            return cls(wanted, True, f"result_epoch = {wanted}")
        if perceptual := [name for name in names if EVALUATORS.load(name).perceptual]:
            return cls(perceptual[0], True, "a perceptual metric selects")
        return cls(names[0], False, f"no perceptual metric among {', '.join(names)} selects another; `result_epoch={names[0]}` would")

    def __str__(self) -> str:
        epoch = f"the best epoch by {self.metric} on the validation images" if self.selects else "the last epoch"
        return f"{epoch} of each pair ({self.reason})"


@dataclass(frozen=True)
class Snapshot:
    """The networks of one pair after an epoch.

    Attributes:
        epoch: counted from 1.
        metric: the value of the ranking metric, averaged over generators and subsets.
        generators: the state dicts of its generators, on the CPU.
        discriminators: the state dicts of its discriminators, on the CPU.
    """

    epoch: int
    metric: float
    generators: Mapping[str, Mapping[str, Tensor]]
    discriminators: Mapping[str, Mapping[str, Tensor]]


class BestCheckpoint:
    """Keeps every pair as it was in its best epoch, by one metric on the validation images.

    Args:
        validation: the validation split.
        pairs: the pairs by role. Frozen pairs are not evaluated.
        metric: the evaluator that ranks the epochs.
    """

    def __init__(self, validation: SplitEvaluation, pairs: Mapping[str, GANPair], metric: str) -> None:
        self.validation = validation
        self.pairs = pairs
        self.metric = metric
        self.best: dict[str, Snapshot] = {}

    def update(self, epoch: int) -> Metrics:
        """Evaluate the generators of every pair after an epoch, and return their metrics."""
        metrics: dict[str, dict[str, dict[MetricKey, float]]] = {}
        for role, pair in self.pairs.items():
            if not pair.trains:
                continue
            metrics[role] = self.validation.evaluate(pair.final_generators)
            value = self._ranking(metrics[role])
            if self._is_better(value, self.best.get(role)):
                self.best[role] = Snapshot(epoch, value, snapshots(pair.final_generators), snapshots(pair.discriminators))
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the best epochs as nested plain values and tensors, without copying."""
        return {role: {part.name: getattr(best, part.name) for part in fields(best)} for role, best in self.best.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self.best = {role: Snapshot(**best) for role, best in state.items()}

    def _ranking(self, metrics: Mapping[str, Mapping[MetricKey, float]]) -> float:
        values = [value for by_key in metrics.values() for key, value in by_key.items() if MetricKey.parse(key).evaluator == self.metric]
        return sum(values) / len(values)

    def _is_better(self, value: float, best: Snapshot | None) -> bool:
        if best is None or math.isnan(value):
            return not math.isnan(value)
        evaluator = self.validation.evaluators.by_name[self.metric]
        return value > best.metric if evaluator.larger_is_better else value < best.metric


def snapshots(networks: Networks) -> dict[str, dict[str, Tensor]]:
    """Return copies of the networks' state dicts on the CPU."""
    return {
        name: {key: tensor.detach().cpu().clone() for key, tensor in network.state_dict().items()} for name, network in networks.items()
    }


def restored(networks: Networks, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, nn.Module]:
    """Return copies of networks with these state dicts; the networks themselves stay as they are."""
    copies = {name: copy_of(network) for name, network in networks.items()}
    for name, network in copies.items():
        network.load_state_dict(dict(states[name]))
    return copies

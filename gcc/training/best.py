"""Keeps each pair's best epoch, selected on the validation images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from gcc.evaluation.split import SplitEvaluation
from gcc.registry import MetricKey, Networks
from gcc.training.pair import GANPair

Metrics = Mapping[str, Mapping[str, Mapping[MetricKey, float]]]
"""Metrics by role and generator."""


@dataclass(frozen=True)
class Snapshot:
    """The networks of one pair after an epoch.

    Attributes:
        epoch: counted from 1.
        metric: the value of the selecting metric, averaged over generators and subsets.
        generators: the state dicts of its generators, on the CPU.
        discriminators: the state dicts of its discriminators, on the CPU.
    """

    epoch: int
    metric: float
    generators: Mapping[str, Mapping[str, Tensor]]
    discriminators: Mapping[str, Mapping[str, Tensor]]


class BestCheckpoint:
    """Keeps every pair as it was in its best epoch, by the first evaluator on the validation images.

    Args:
        validation: the split that selects.
        pairs: the pairs by role. Frozen pairs are not evaluated.
    """

    def __init__(self, validation: SplitEvaluation, pairs: Mapping[str, GANPair]) -> None:
        self.validation = validation
        self.pairs = pairs
        self.best: dict[str, Snapshot] = {}

    def update(self, epoch: int) -> Metrics:
        """Evaluate the generators of every pair after an epoch, and return their metrics."""
        metrics: dict[str, dict[str, dict[MetricKey, float]]] = {}
        for role, pair in self.pairs.items():
            if not pair.trains:
                continue
            metrics[role] = self.validation.evaluate(pair.generators)
            value = self._selecting(metrics[role])
            if self._is_better(value, self.best.get(role)):
                self.best[role] = Snapshot(epoch, value, snapshots(pair.generators), snapshots(pair.discriminators))
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the best epochs as nested plain values and tensors, without copying."""
        return {role: {part.name: getattr(best, part.name) for part in fields(best)} for role, best in self.best.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned."""
        self.best = {role: Snapshot(**best) for role, best in state.items()}

    def _selecting(self, metrics: Mapping[str, Mapping[MetricKey, float]]) -> float:
        name = next(iter(self.validation.evaluators.by_name))
        values = [value for by_key in metrics.values() for key, value in by_key.items() if MetricKey.parse(key).evaluator == name]
        return sum(values) / len(values)

    def _is_better(self, value: float, best: Snapshot | None) -> bool:
        if best is None or math.isnan(value):
            return not math.isnan(value)
        evaluator = next(iter(self.validation.evaluators.by_name.values()))
        return value > best.metric if evaluator.larger_is_better else value < best.metric


def snapshots(networks: Networks) -> dict[str, dict[str, Tensor]]:
    """Return copies of the networks' state dicts on the CPU."""
    return {
        name: {key: tensor.detach().cpu().clone() for key, tensor in network.state_dict().items()} for name, network in networks.items()
    }


def restored(networks: Networks, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, nn.Module]:
    """Return copies of networks with these state dicts; the networks themselves stay as they are."""
    copies = {name: deepcopy(network) for name, network in networks.items()}
    for name, network in copies.items():
        network.load_state_dict(dict(states[name]))
    return copies

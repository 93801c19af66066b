"""The best epoch: a side of the game as it was when the validation images liked it most."""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor, nn

from gcc.evaluation.split import SplitEvaluation
from gcc.registry import Networks
from gcc.training.pair import GANPair


@dataclass(frozen=True)
class Snapshot:
    """The networks of one side after an epoch.

    Attributes:
        epoch: counted from 1.
        figure: what told; the mean over generators and parts of the validation images.
        generators: their weights, on the CPU.
        discriminators: likewise.
    """

    epoch: int
    figure: float
    generators: Mapping[str, Mapping[str, Tensor]]
    discriminators: Mapping[str, Mapping[str, Tensor]]


class BestCheckpoint:
    """Keeps every side as it was in its best epoch, by the jury's first evaluator on the validation images.

    Args:
        validation: the split that chooses.
    """

    def __init__(self, validation: SplitEvaluation) -> None:
        self.validation = validation
        self.best: dict[str, Snapshot] = {}

    def update(self, epoch: int, sides: Mapping[str, GANPair]) -> dict[str, float]:
        """Judge the generators of every side after an epoch, and return the figures by `val/side/generator/title`."""
        told: dict[str, float] = {}
        for side, player in sides.items():
            if not player.trains:
                continue
            metrics = self.validation.evaluate(player.generators)
            told |= {f"val/{side}/{name}/{title}": value for name, found in metrics.items() for title, value in found.items()}
            figure = self._decisive(metrics)
            if self._is_better(figure, self.best.get(side)):
                self.best[side] = Snapshot(epoch, figure, snapshots(player.generators), snapshots(player.discriminators))
        return told

    def state_dict(self) -> dict[str, Any]:
        """Return the best epochs, as nested plain values and tensors; no copy."""
        return {side: {part.name: getattr(kept, part.name) for part in fields(kept)} for side, kept in self.best.items()}

    def load_state_dict(self, memory: Mapping[str, Any]) -> None:
        """Take up what `state_dict` returned."""
        self.best = {side: Snapshot(**kept) for side, kept in memory.items()}

    def _decisive(self, metrics: Mapping[str, Mapping[str, float]]) -> float:
        name = next(iter(self.validation.evaluators.by_name))
        values = [value for found in metrics.values() for title, value in found.items() if title.partition(" (")[0] == name]
        return sum(values) / len(values)

    def _is_better(self, figure: float, best: Snapshot | None) -> bool:
        if best is None or math.isnan(figure):
            return not math.isnan(figure)
        evaluator = next(iter(self.validation.evaluators.by_name.values()))
        return figure > best.figure if evaluator.larger_is_better else figure < best.figure


def snapshots(networks: Networks) -> dict[str, dict[str, Tensor]]:
    """Return copies of the states of networks, on the CPU."""
    return {
        name: {key: tensor.detach().cpu().clone() for key, tensor in network.state_dict().items()} for name, network in networks.items()
    }


def restored(networks: Networks, states: Mapping[str, Mapping[str, Tensor]]) -> dict[str, nn.Module]:
    """Return copies of networks in these states; the networks stay as they are."""
    copies = {name: deepcopy(network) for name, network in networks.items()}
    for name, network in copies.items():
        network.load_state_dict(dict(states[name]))
    return copies

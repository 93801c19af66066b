"""Trained pairs with the costs and metrics of their generators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from torch import nn

from gcc.artifacts.config import CONFIG, ORIGIN, Artifact, Role
from gcc.artifacts.run_folder import BEST, LAST
from gcc.deploy.latency import Latency, where_in
from gcc.models.modules import Widths
from gcc.pruning.budget import LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.registry import Architecture, MetricKey, registry_of
from gcc.utils.renamed import RenamedAttributes


@dataclass(frozen=True, repr=False)
class GeneratorReport(RenamedAttributes):
    """One generator with its costs and metrics.

    Attributes:
        network: the generator in eval mode, on the device of the run.
        widths: its channels by width name.
        cost: MACs per sample by both counters, and parameters, at the architecture's example input.
        latency: the time for one example input.
        metrics: on held-out images, by key, such as `psnr` or `psnr_y (Set5)`.
        epoch: the epoch after which it was measured; 0 if it was not trained in this run.
        epoch_note: which epoch that is, such as `last` or `best by fid`. Empty if it was not trained in this run.
        protocols: how each metric was computed, by its key.
        latency_budget: the latency that the student may have, and this generator's latency in the same runtime. None for other budgets.
    """

    renamed = {"figures": "measurements", "promised": "latency_budget"}

    network: nn.Module
    widths: Widths
    cost: Cost
    latency: Latency
    metrics: Mapping[MetricKey, float] = field(default_factory=dict)
    epoch: int = 0
    epoch_note: str = ""
    protocols: Mapping[MetricKey, str] = field(default_factory=dict)
    latency_budget: tuple[LatencyBudget, Latency] | None = None

    def __repr__(self) -> str:
        metrics = "".join(f", {key} {value:.4g}" for key, value in self.metrics.items())
        return f"{type(self).__name__}({self.cost}, {self.latency.median_ms:.1f} ms{metrics})"

    @classmethod
    def of(
        cls,
        architecture: Architecture[Any],
        network: nn.Module,
        widths: Widths,
        latency: Latency,
        *,
        metrics: Mapping[MetricKey, float] = MappingProxyType({}),
        protocols: Mapping[MetricKey, str] = MappingProxyType({}),
        epoch: int = 0,
        epoch_note: str = "",
        latency_budget: tuple[LatencyBudget, Latency] | None = None,
    ) -> GeneratorReport:
        """Return the report on a generator with its costs, and put it into eval mode."""
        cost = generator_cost(architecture, widths)
        return cls(network.eval(), widths, cost, latency, dict(metrics), epoch, epoch_note, dict(protocols), latency_budget)

    def measurements(self) -> dict[str, Any]:
        """Return costs, latency and metrics as plain values."""
        limits: dict[str, Any] = {}
        if self.latency_budget:
            budget, latency = self.latency_budget
            limits = {
                "promised_ms": budget.milliseconds,
                "promised_on": latency.where if budget.runtime == "cpu" else f"{budget.runtime}, {where_in(budget.runtime, latency)}",
                "ready_ms": latency.median_ms,
            }
        return limits | {
            "resolution": self.cost.resolution,
            "exact_macs": self.cost.macs,
            "paper_macs": self.cost.paper_macs,
            "parameters": self.cost.parameters,
            "latency_ms": self.latency.median_ms,
            "latency_p90_ms": self.latency.p90_ms,
            "latency_on": self.latency.where,
            "epoch": self.epoch,
            **({"epoch_note": self.epoch_note} if self.epoch_note else {}),
            "metrics": dict(self.metrics),
            "protocols": dict(self.protocols),
        }


@dataclass(frozen=True, repr=False)
class TrainedPair:
    """One role after a run: its generators, and the teacher's discriminators, in eval mode."""

    role: Role
    arch: str
    architecture: Architecture[Any]
    generators: Mapping[str, GeneratorReport]
    discriminators: Mapping[str, nn.Module]
    environment: Mapping[str, str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.role} of {self.arch}: {', '.join(self.generators)})"

    def networks(self) -> dict[str, nn.Module]:
        """Return the generators by name."""
        return {name: report.network for name, report in self.generators.items()}

    def path(self, folder: Path, generator: str) -> Path:
        """Return the folder of a saved generator: `folder`, or a folder of its name below it if the family has several generators."""
        return folder / generator if len(self.architecture.generators) > 1 else folder

    def missing(self, folder: Path) -> list[str]:
        """Return the generators of the family that are not saved in `folder` yet."""
        return [name for name in self.architecture.generators if not (self.path(folder, name) / CONFIG).exists()]

    def artifacts(self, folder: Path, measurements: Mapping[str, Mapping[str, Any]]) -> dict[str, Artifact]:
        """Return the description of every generator, saved in `folder`, with the measurements of every role by generator."""
        recipe, environment = self.architecture.recipe, {**self.environment, ORIGIN: registry_of(self.arch).origin(self.arch)}
        return {
            name: Artifact(
                self.path(folder, name),
                self.role,
                self.arch,
                name,
                recipe,
                report.widths,
                measurements[name],
                environment,
                type(self.architecture),
            )
            for name, report in self.generators.items()
        }


@dataclass(frozen=True)
class BestAndLast:
    """One role after a run, in two epochs.

    Attributes:
        best: in the best epoch, if validation images rank the epochs; otherwise in the last.
        last: in the last epoch.
        selected: which of the two is the result.
    """

    best: TrainedPair
    last: TrainedPair
    selected: Literal["best", "last"] = LAST

    @property
    def differs(self) -> bool:
        """Whether the last epoch is not the best."""
        return self.last is not self.best

    @property
    def result(self) -> TrainedPair:
        """The pair in the epoch that is the result."""
        return self.best if self.selected == BEST else self.last

    @property
    def other(self) -> TrainedPair:
        """The pair in the other epoch."""
        return self.last if self.selected == BEST else self.best

    @property
    def other_title(self) -> Literal["best", "last"]:
        """The name of the other epoch: `best` or `last`."""
        return LAST if self.selected == BEST else BEST

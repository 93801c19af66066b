"""What a run gives: each side of the game with its costs and its quality, ready to use and to save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from PIL.Image import Image
from torch import nn

from gcc.artifacts.card import GRID, model_card, side_card
from gcc.artifacts.config import ORIGIN, Artifact, Role
from gcc.artifacts.model import save, save_discriminators
from gcc.deploy.latency import Latency, measure_latency, measure_ready
from gcc.errors import GccError
from gcc.models.modules import Widths
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.registry import ARCHITECTURES, Architecture
from gcc.utils.files import replacing, require_empty, write_text

BEST, LAST = "best", "last"
"""Which epoch a side is of, where they differ; also the folder of the sides in the last."""


@dataclass(frozen=True)
class GeneratorReport:
    """One generator with what it costs and how good it is.

    Attributes:
        network: in eval mode, on the device of the run.
        widths: its channels by width name.
        cost: MACs per sample by both counters and parameters, at the architecture's example input.
        latency: of one example input.
        metrics: figures on held-out images by title, such as `psnr` or `psnr_y (Set5)`.
        epoch: after which the generator is as it is; 0 where it was not trained here.
        protocols: how each figure came about, by its title.
        promised: the latency that the student may have, and what this generator has where it is promised; none for other budgets.
    """

    network: nn.Module
    widths: Widths
    cost: Cost
    latency: Latency
    metrics: Mapping[str, float] = field(default_factory=dict)
    epoch: int = 0
    protocols: Mapping[str, str] = field(default_factory=dict)
    latency_budget: tuple[LatencyBudget, Latency] | None = None

    @classmethod
    def measure(
        cls,
        architecture: Architecture[Any],
        network: nn.Module,
        widths: Widths,
        metrics: Mapping[str, float],
        device: torch.device,
        epoch: int = 0,
        protocols: Mapping[str, str] = MappingProxyType({}),
        budget: Budget | LatencyBudget | None = None,
    ) -> GeneratorReport:
        """Measure costs and latency of a generator on its device, and put it into eval mode."""
        cost = generator_cost(architecture, widths)
        latency = measure_latency(network.eval(), architecture.example_input().to(device))
        latency_budget = None
        if isinstance(budget, LatencyBudget):
            latency_budget = budget, measure_ready(network, architecture.example_input(), budget.runtime)
        return cls(network, widths, cost, latency, metrics, epoch, dict(protocols), latency_budget)

    def measurements(self) -> dict[str, Any]:
        """Return costs, latency and metrics as plain values."""
        told: dict[str, Any] = {}
        if self.latency_budget:
            budget, latency = self.latency_budget
            told = {
                "promised_ms": budget.milliseconds,
                "promised_on": latency.where if budget.runtime == "cpu" else f"{budget.runtime}, {latency.where}",
                "ready_ms": latency.median_ms,
            }
        return told | {
            "resolution": self.cost.resolution,
            "exact_macs": self.cost.macs,
            "paper_macs": self.cost.paper_macs,
            "parameters": self.cost.parameters,
            "latency_ms": self.latency.median_ms,
            "latency_p90_ms": self.latency.p90_ms,
            "latency_on": self.latency.where,
            "epoch": self.epoch,
            "metrics": dict(self.metrics),
            "protocols": dict(self.protocols),
        }


@dataclass(frozen=True)
class TrainedPair:
    """One side of the game after a run: its generators, and the teacher's discriminators, in eval mode."""

    role: Role
    arch: str
    architecture: Architecture[Any]
    generators: Mapping[str, GeneratorReport]
    discriminators: Mapping[str, nn.Module]
    environment: Mapping[str, str]

    def place(self, folder: Path, generator: str) -> Path:
        """Return where below `folder` a generator is saved: in it, or in a folder of its name where the family has several."""
        return folder / generator if len(self.architecture.generators) > 1 else folder

    def missing(self, folder: Path) -> list[str]:
        """Return the generators of the family that are not saved in `folder` yet."""
        return [name for name in self.architecture.generators if not (self.place(folder, name) / "config.json").exists()]

    def save(self, folder: Path, measurements: Mapping[str, Mapping[str, Any]], grid: Image | None) -> None:
        """Write every generator's artefact to its place.

        Args:
            folder: such as `runs/pix2pix/student`.
            measurements: of every side, by generator, for the model card to compare.
            grid: held-out samples, where there are any.

        Raises:
            OutputError: the folder cannot be written.
        """
        if self.discriminators:
            save_discriminators(folder, self.discriminators)
        environment = {**self.environment, ORIGIN: ARCHITECTURES.origin(self.arch)}
        for name, measured in self.generators.items():
            place = self.place(folder, name)
            artifact = Artifact(
                place, self.role, self.arch, name, self.architecture.recipe, measured.widths, measurements[name], environment
            )
            if grid is not None:
                with replacing(place / GRID) as fresh:
                    grid.save(fresh)
            save(artifact, measured.network, model_card(artifact, measurements[name], GRID if grid else None))
        if len(self.generators) > 1:
            told = {name: measurements[name][self.role] for name in self.generators}
            write_text(folder / "README.md", side_card(self.architecture, self.arch, self.role, told))


@dataclass(frozen=True)
class BestAndLast:
    """One side after a run.

    Attributes:
        best: as it was in its best epoch, where validation images told; else as in the last.
        last: as it was in the last epoch.
    """

    best: TrainedPair
    last: TrainedPair

    @property
    def differs(self) -> bool:
        """Whether the last epoch is not the best."""
        return self.last is not self.best


@dataclass(frozen=True)
class Result:
    """What a compression gives.

    Attributes:
        outcomes: of the teacher and the student by role; a run that trains a teacher alone has no student.
        grid: held-out samples of every side in its best epoch.
        last_grids: by role, the same with that side in its last epoch, where that is not the best.
    """

    roles: Mapping[str, BestAndLast]
    grid: Image
    last_grids: Mapping[str, Image] = field(default_factory=dict)

    @property
    def pairs(self) -> dict[str, TrainedPair]:
        """The sides by role, each in its best epoch."""
        return {role: outcome.best for role, outcome in self.roles.items()}

    @property
    def students(self) -> dict[str, nn.Module]:
        """The student generators by name, in eval mode.

        Raises:
            GccError: the run trained a teacher alone.
        """
        if "student" not in self.pairs:
            raise GccError("this run trained a teacher alone, and has no student: its generators are in sides['teacher']")
        return {name: measured.network for name, measured in self.pairs["student"].generators.items()}

    @property
    def student(self) -> nn.Module:
        """The student generator, in eval mode.

        Raises:
            GccError: there is none, or the family has several, which are in `students`.
        """
        if len(self.students) > 1:
            raise GccError(f"this family has several generators: take one of students[{', '.join(map(repr, self.students))}]")
        (network,) = self.students.values()
        return network

    def measurements(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the costs, latency and metrics by generator and side; `student (last)` where the last epoch is not the best."""
        columns = self._columns()
        generators = next(iter(columns.values())).generators
        return {name: {title: side.generators[name].measurements() for title, side in columns.items()} for name in generators}

    def save(self, folder: str | Path) -> None:
        """Write `student/` and `teacher/` below `folder`, each with `model.safetensors`, `config.json` and `README.md`.

        They hold the best epoch; a side whose last epoch is another is in `last/student/` or `last/teacher/`, too.

        Raises:
            OutputError: the folder holds one of them already, or cannot be written.
        """
        columns, places = self._columns(), self.places(Path(folder))
        for place in places.values():
            require_empty(place)
        for title, place in places.items():
            side = columns[title]
            if title == side.role:
                side.save(place, self.measurements(), self.grid)
            else:
                side.save(place, self._figures_of_last(side.role), self.last_grids[side.role])

    def places(self, folder: Path) -> dict[str, Path]:
        """Return where below `folder` each side is saved, by its title in `measurements`."""
        return {title: folder / (LAST if LAST in title else "") / side.role for title, side in self._columns().items()}

    def _figures_of_last(self, role: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Return what the saved last epoch of a side tells: its own figures under its role, beside those of the best epochs."""
        told = {}
        for name, columns in self.measurements().items():
            best = {title: columns[title] for title in self.roles}
            told[name] = best | {role: columns[f"{role} ({LAST})"], f"{role} ({BEST})": columns[role]}
        return told

    def _columns(self) -> dict[str, TrainedPair]:
        """Return the sides by title: each in its best epoch, then those that the last epoch left otherwise."""
        apart = {role: outcome.last for role, outcome in self.roles.items() if outcome.differs}
        return self.pairs | {f"{role} ({LAST})": side for role, side in apart.items()}

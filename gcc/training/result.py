"""The result of a run: trained pairs with their costs and metrics, ready to use and to save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from PIL.Image import Image
from torch import nn

from gcc.artifacts.card import CARD, GRID, index_card, model_card
from gcc.artifacts.comparison import AS_GIVEN, MISSING, comparison
from gcc.artifacts.config import CONFIG, ORIGIN, Artifact, Role
from gcc.artifacts.metrics_log import line_of
from gcc.artifacts.model import save, save_discriminators
from gcc.artifacts.run_folder import BEST, LAST, METRICS_FILE, RECIPE_FILE, REPORT_FILE, set_run_aside
from gcc.deploy.latency import Latency
from gcc.errors import GccError, OutputError, OutputWarning
from gcc.models.modules import Widths
from gcc.pruning.budget import LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.registry import Architecture, MetricKey, registry_of
from gcc.report.html import report, report_of, require_report_or_new
from gcc.report.page import ReportPage
from gcc.report.run_record import HELD_OUT, Grid, RunRecord, phases_of
from gcc.utils.files import explained, replacing, require_empty, write_text
from gcc.utils.notebook import html_table
from gcc.utils.renamed import RenamedAttributes
from gcc.utils.user_warnings import warn_user

GENERATORS_SHOWN = 3
"""Generators in the short text of a result."""


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
                "promised_on": latency.where if budget.runtime == "cpu" else f"{budget.runtime}, {latency.where}",
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

    def save(self, folder: Path, measurements: Mapping[str, Mapping[str, Any]], grid: Image | None) -> None:
        """Write every generator with its configuration and model card.

        Args:
            folder: such as `runs/pix2pix/student`.
            measurements: of every role, by generator, for the model card to compare.
            grid: a grid of held-out samples. None writes no picture.

        Raises:
            OutputError: the folder cannot be written.
        """
        if self.discriminators:
            save_discriminators(folder, self.discriminators)
        for name, artifact in self.artifacts(folder, measurements).items():
            if grid is not None:
                with replacing(artifact.folder / GRID) as temporary:
                    grid.save(temporary)
            save(artifact, self.generators[name].network, model_card(artifact, artifact.measurements, GRID if grid else None))
        if len(self.generators) > 1:
            own = {name: measurements[name][self.role] for name in self.generators}
            write_text(folder / CARD, index_card(self.architecture, self.arch, self.role, own))


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


@dataclass(frozen=True, repr=False)
class Result(RenamedAttributes):
    """The result of a run.

    Attributes:
        roles: the trained pairs by role, "teacher" and "student". A run that trains only a teacher has no student.
        grid: held-out samples of every pair in the epoch that is the result.
        other_grids: the same grid with one role in its other epoch, by role, if its best epoch is not the last.
        given: pairs before the run trained them further, with their metrics, by role. Empty if there are none, or no metrics.
        history: the losses and metrics of the run, before and after it was resumed, as lines of `metrics.jsonl`; empty if they are in the
            run's folder already.
    """

    renamed = {"figures": "measurements", "last_grids": "other_grids", "outcomes": "roles", "places": "paths", "sides": "pairs"}

    roles: Mapping[str, BestAndLast]
    grid: Image
    other_grids: Mapping[str, Image] = field(default_factory=dict)
    given: Mapping[Role, TrainedPair] = field(default_factory=dict)
    history: Sequence[Mapping[str, Any]] = ()
    _run_folder: Path | None = field(default=None, init=False, compare=False)

    def __repr__(self) -> str:
        lines = [f"{type(self).__name__} of {self._pair.arch}: {' and '.join(self.roles)}"]
        for name, columns in list(self.measurements().items())[:GENERATORS_SHOWN]:
            index = list(columns).index(self._pair.role)
            cells = ", ".join(f"{title} {values[index]}" for title, values in comparison(columns).items() if values[index] != MISSING)
            lines.append(f"{self._pair.role} {name}: {cells}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return "".join(
            html_table(f"{self._pair.arch} {name}", list(columns), comparison(columns)) for name, columns in self.measurements().items()
        )

    @property
    def _pair(self) -> TrainedPair:
        """The last of the pairs: the student, or the teacher of a run without one."""
        return list(self.pairs.values())[-1]

    @property
    def pairs(self) -> dict[str, TrainedPair]:
        """The trained pairs by role, each in the epoch that is the result."""
        return {role: pair.result for role, pair in self.roles.items()}

    @property
    def students(self) -> dict[str, nn.Module]:
        """The student generators by name, in eval mode.

        Raises:
            GccError: the run trained only a teacher.
        """
        if "student" not in self.roles:
            raise GccError("this run trained only a teacher and has no student: its generators are in pairs['teacher']")
        return self.pairs["student"].networks()

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
        """Return costs, latency and metrics by generator and role.

        The other epoch has a title such as `student (best)`. A pair that was trained further comes after itself as it was given.
        """
        columns: dict[str, TrainedPair] = {}
        for title, pair in self._columns().items():
            if pair.role == title and pair.role in self.given:
                columns[AS_GIVEN[title]] = self.given[pair.role]
            columns[title] = pair
        generators = next(iter(columns.values())).generators
        return {name: {title: pair.generators[name].measurements() for title, pair in columns.items()} for name in generators}

    def save(self, folder: str | Path) -> None:
        """Write `student/` and `teacher/` below `folder`, each with `model.safetensors`, `config.json` and `README.md`.

        They hold the result. A pair whose best epoch is not the last has its other epoch in `best/` or `last/`, such as `best/student/`.
        `recipe.toml` and `metrics.jsonl` make it the folder of a run, which `gcc report` reads. An earlier run in the folder is moved to
        `replaced/` in it, with a warning (`OutputWarning`).

        Raises:
            OutputError: the folder cannot be written, or contains files of these names that are not a run's.
            RunError: another process trains there.
        """
        folder = Path(folder)
        columns, paths = self._columns(), self.paths(folder)
        if self.history and (aside := set_run_aside(folder)):
            warn_user(f"{folder} contained an earlier run, which is in {aside} now", OutputWarning)
        for path in paths.values():
            require_empty(path)
        if self.history:
            self._save_record(folder)
        for title, path in paths.items():
            pair = columns[title]
            if title == pair.role:
                pair.save(path, self.measurements(), self.grid)
            else:
                pair.save(path, self._measurements_of_other(pair.role), self.other_grids[pair.role])
        if (folder / RECIPE_FILE).is_file():
            object.__setattr__(self, "_run_folder", folder)

    def _save_record(self, folder: Path) -> None:
        """Write the recipe and the history, as a run of its own."""
        files = {
            RECIPE_FILE: self._pair.architecture.recipe.to_toml(self._pair.arch),
            METRICS_FILE: "".join(map(line_of, self.history)),
        }
        for name in files:
            if (folder / name).exists():
                raise OutputError(f"{folder} contains {name}, but no run: choose another folder")
        with explained(folder):
            folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            write_text(folder / name, text)

    def report(self, path: str | Path = REPORT_FILE) -> ReportPage:
        """Write the report of the run, one HTML file that needs no other, and return it. A notebook shows it in place.

        A saved result reports on its folder. Without one, the page has what the result has, and names no next steps.

        Args:
            path: the file; an earlier report in it is replaced.

        Raises:
            OutputError: the file cannot be written, or exists and is not a report.
            GccError: a file in the folder of the saved result is damaged.
        """
        path, folder = Path(path), self._run_folder
        require_report_or_new(path)
        html = report([folder]) if folder and (folder / RECIPE_FILE).is_file() else report_of([self._record()])
        write_text(path, html)
        return ReportPage(path, html)

    def _record(self) -> RunRecord:
        """Return the record of a result that is not saved."""
        measurements, pair = self.measurements(), self._pair
        artifacts = {role: of_role.artifacts(Path(role), measurements) for role, of_role in self.pairs.items()}
        png = BytesIO()
        self.grid.save(png, format="PNG")
        return RunRecord(
            folder=None,
            arch=pair.arch,
            recipe=pair.architecture.recipe.to_dict(),
            phases=phases_of(self.history),
            students=artifacts.get("student", {}),
            teachers=artifacts.get("teacher", {}),
            samples=Grid(HELD_OUT, png.getvalue(), *self.grid.size),
            progress=(),
            info=None,
            command="",
        )

    def paths(self, folder: Path) -> dict[str, Path]:
        """Return where below `folder` each pair is saved, by its title in `measurements`."""
        others = {f"{role} ({pair.other_title})": folder / pair.other_title / role for role, pair in self.roles.items() if pair.differs}
        return {role: folder / role for role in self.roles} | others

    def _measurements_of_other(self, role: str) -> dict[str, dict[str, dict[str, Any]]]:
        """Return the measurements saved with a pair's other epoch: its own as `role`, beside those of the results."""
        other, measurements = self.roles[role], {}
        for name, columns in self.measurements().items():
            results = {title: values for title, values in columns.items() if title in (*AS_GIVEN.values(), *self.roles)}
            measurements[name] = results | {role: columns[f"{role} ({other.other_title})"], f"{role} ({other.selected})": columns[role]}
        return measurements

    def _columns(self) -> dict[str, TrainedPair]:
        """Return the pairs by title: each in the epoch that is the result, then in the other one if they differ."""
        return self.pairs | {f"{role} ({pair.other_title})": pair.other for role, pair in self.roles.items() if pair.differs}

"""The result of a run: trained pairs with their costs and metrics, ready to use, to save and to report on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL.Image import Image
from torch import nn

from gcc.artifacts.comparison import AS_GIVEN, MISSING, comparison
from gcc.artifacts.config import Role
from gcc.artifacts.metrics_log import line_of
from gcc.artifacts.run_folder import METRICS_FILE, RECIPE_FILE, REPORT_FILE
from gcc.errors import GccError
from gcc.report.html import report, report_of, require_report_or_new
from gcc.report.page import ReportPage
from gcc.report.run_record import HELD_OUT, Grid, RunRecord, phases_of
from gcc.training.save_result import PairToSave, save_run
from gcc.training.trained_pair import BestAndLast, TrainedPair
from gcc.utils.files import write_text
from gcc.utils.notebook import html_table
from gcc.utils.renamed import RenamedAttributes

GENERATORS_SHOWN = 3
"""Generators in the short text of a result."""


@dataclass(repr=False)
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
        columns = self._columns()
        pairs = [self._to_save(title, columns[title], path) for title, path in self.paths(folder).items()]
        save_run(folder, pairs, self._run_files() if self.history else {})
        if (folder / RECIPE_FILE).is_file():
            self._run_folder = folder

    def _to_save(self, title: str, pair: TrainedPair, folder: Path) -> PairToSave:
        """Return a pair by its title, with the measurements and the grid that are saved with it."""
        if title == pair.role:
            return PairToSave(pair, folder, self.measurements(), self.grid)
        return PairToSave(pair, folder, self._measurements_of_other(pair.role), self.other_grids[pair.role])

    def _run_files(self) -> dict[str, str]:
        """Return the recipe and the history, as the files of a run of its own."""
        return {
            RECIPE_FILE: self._pair.architecture.recipe.to_toml(self._pair.arch),
            METRICS_FILE: "".join(map(line_of, self.history)),
        }

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
            is_finished=True,
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

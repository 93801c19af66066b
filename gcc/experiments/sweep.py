"""A sweep: one teacher, a student for each budget, and the curve of quality over cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from gcc.artifacts.comparison import AS_GIVEN, Measurements
from gcc.artifacts.config import Artifact
from gcc.artifacts.model import read
from gcc.artifacts.run_folder import RECIPE_FILE, REPORT_FILE, STUDENT, TEACHER, is_finished
from gcc.compressor import Compressor
from gcc.deploy.latency import Latency, measure_in_turns
from gcc.errors import BudgetError, GccError
from gcc.experiments.runs import Member, RunGroup, given_twice
from gcc.losses.distillers import reads_teacher_discriminators
from gcc.models.modules import Widths
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.recipe import current_names, read_toml, saved_length, with_new_fields, without_replaced_length
from gcc.report.sweep import markdown_tables, read_sweep, save_sweep_report, teacher_text
from gcc.training.options import RunOptions
from gcc.training.pair import GANPair
from gcc.training.teacher import Teacher
from gcc.training.teacher_trainer import Trainer
from gcc.training.width_search import Chosen, search_channels
from gcc.utils.arguments import require_kind
from gcc.utils.files import write_text
from gcc.utils.units import counted

WIDTHS = "sweep-widths.json"
"""The file with the widths that one run's first step has found for other runs."""


class Sweep(RunGroup[dict[str, dict[str, Measurements]]]):
    """One teacher, and a student for each budget, each run in its own folder, such as `OUT/25%`.

    The teacher is trained once, as `gcc train` does, in `OUT/teacher`, unless a pretrained one is given. It is frozen while the students
    train, so that all students learn from the same teacher, and no run trains it again. With `train_teacher=True` it trains along in every
    run instead, as in Algorithm 1, from its pretrained weights or from new ones; so does a given teacher that lacks discriminators which
    the students' losses read.

    Runs whose first step would train the same pair share it, because their recipes differ in the budget alone. Each run gives the same bits
    as a `Compressor` with its budget.

    Args:
        teacher: the architecture, its recipe, and pretrained weights if it has any. Leave it out if you give `generator` and `task`.
        out: folder of the runs. Finished runs in it are not repeated, stopped ones are resumed, and students of earlier calls are compared
            with the new ones. None means `runs/ARCH-sweep`.
        budgets: the students' budgets, such as `["10%", "25%"]`.
        data: folder of the training images. None means the architecture's demo data and demo recipe.
        options: keywords of `Compressor`, with recipe fields, without `budget`, `widths` and `student`.

    Raises:
        GccError: no budget is given, an option cannot be used, or this process is one of several.
    """

    name = command = "sweep"
    noun = "a sweep"
    keep = 1

    def __init__(
        self,
        teacher: Teacher | None = None,
        out: str | Path | None = None,
        budgets: Sequence[str] = (),
        data: str | Path | None = None,
        **options: Unpack[RunOptions],
    ) -> None:
        super().__init__(teacher, out, data, options)
        require_kind("budgets", budgets, Sequence[str])
        if not budgets:
            raise BudgetError(f"budgets = {budgets!r}: expected at least one, such as ['10%', '25%']")
        if "budget" in self._settings:
            raise GccError("a sweep trains a student for each of its budgets: leave budget out")
        for name in ("widths", "student"):
            if getattr(self.config, name) is not None:
                raise GccError(f"a sweep trains a new student for each budget: leave {name} out")
        given = ["".join(budget.split()) for budget in budgets]
        joined = [budget for budget in given if "," in budget]
        if joined and len(self.teacher.family.generators) == 1:
            raise BudgetError(f"budget {joined[0]!r}: expected one budget for each student, not joined by commas")
        self.budgets = list(dict.fromkeys(given))
        self._merged = given_twice(given)

    @cached_property
    def first(self) -> Compressor:
        return self._planned[0]

    @cached_property
    def freezes_teacher(self) -> bool:
        """Whether the teacher is frozen while the students train."""
        recipe = self.teacher.architecture_for(self.config.data, self._settings).recipe
        if "train_teacher" in self._settings:
            return not recipe.train_teacher
        return self.teacher.has_discriminators or not reads_teacher_discriminators(recipe)

    @property
    def trains_teacher_first(self) -> bool:
        """Whether the first run trains the teacher alone."""
        return self.freezes_teacher and not self.teacher.is_trained

    def check(self) -> None:
        require_one_runtime(self._compared, self.teacher.family.generators)
        for budget, run in zip(self.budgets, self._planned, strict=True):
            try:
                run.reachable_widths()
            except BudgetError as error:
                raise BudgetError(f"{budget}: {error}") from error
        super().check()

    def plan(self) -> dict[str, str]:
        self.check()
        plans = {budget: run.plan() for budget, run in zip(self.budgets, self._planned, strict=True)}
        own = ("pruned from", "budget", "channels")
        shared = {title: fact for title, fact in plans[self.budgets[0]].items() if title not in own}
        teacher = teacher_text(self._trainer().recipe.epochs if self.trains_teacher_first else None, is_frozen=self.freezes_teacher)
        each = {budget: "; ".join(plan[title] for title in own) for budget, plan in plans.items()}
        return shared | each | {"runs": f"{teacher}; {counted(len(self.budgets), 'student')}{self._merged}", "output": str(self.out)}

    def members(self) -> Iterator[Member]:
        teacher = self.teacher
        if self.trains_teacher_first:
            folder = self.out / TEACHER
            yield Member("teacher", folder, self._trainer())
            teacher = Teacher.load(folder / TEACHER, self.teacher.factory)
        runs = {budget: self._compressor(teacher, budget) for budget in self.budgets}
        for budget in self.budgets:
            run = runs.pop(budget)
            run.fixed_widths = self._saved_widths(budget, run)
            if run.recipe.start == "fresh":
                run.same_search = {other: later for other, later in runs.items() if _search(later) == _search(run)}
            yield Member(f"budget {budget}", self._folder(budget), run)

    def measurements(self) -> dict[str, dict[str, Measurements]]:
        """Return costs, latency and metrics by generator and title: the teacher's, then those of every budget's student.

        Raises:
            ArtifactError: a student is missing or damaged.
        """
        columns: dict[str, dict[str, Measurements]] = {}
        trained = read(self.folders()[TEACHER]) if self.trains_teacher_first else {}
        for budget, students in self._students().items():
            for name, student in students.items():
                reference = AS_GIVEN[TEACHER] if AS_GIVEN[TEACHER] in student.measurements else TEACHER
                # The students' runs know the teacher that the sweep has trained as a given one.
                epoch = _epoch(trained[name].measurements[TEACHER]) if name in trained else {}
                columns.setdefault(name, {reference: {**student.measurements[reference], **epoch}})[budget] = student.measurements[STUDENT]
        return {name: self._timed(name, measured) for name, measured in columns.items()}

    def _timed(self, name: str, measured: Mapping[str, Measurements]) -> dict[str, Measurements]:
        """Return the measurements of a generator with latencies that were measured in turns, since each run has measured its own."""
        return {
            title: {**values, "latency_ms": latency.median_ms, "latency_p90_ms": latency.p90_ms, "latency_on": latency.where}
            for (title, values), latency in zip(measured.items(), self._latencies[name], strict=True)
        }

    @cached_property
    def _latencies(self) -> dict[str, list[Latency]]:
        """The latencies by generator: the teacher's, then those of every budget's student."""
        artifacts = [self._read(folder) for folder in self.folders().values()]
        device = self.first.context.device
        return {
            name: measure_in_turns([generators[name].network().to(device) for generators in artifacts], artifact.example_input().to(device))
            for name, artifact in artifacts[0].items()
        }

    def folders(self) -> dict[str, Path]:
        teacher = self.out / TEACHER if self.trains_teacher_first else self._folder(self.budgets[0])
        return {TEACHER: teacher / TEACHER} | {budget: self._folder(budget) / STUDENT for budget in self._compared}

    def to_dict(self) -> dict[str, Any]:
        return self.measurements()

    def to_markdown(self) -> str:
        return markdown_tables(self.measurements())

    def save(self) -> list[Path]:
        """Write `sweep.json`, `sweep.md`, `sweep.png` and `report.html`, and return their paths.

        Raises:
            OutputError: a file cannot be written.
            ArtifactError: a saved generator is missing or damaged.
        """
        return [*super().save(), save_sweep_report(self.out / REPORT_FILE, read_sweep(self.out))]

    @cached_property
    def _planned(self) -> list[_SweepRun]:
        """A run per budget, not started, with the teacher as it was given."""
        return [self._compressor(self.teacher, budget) for budget in self.budgets]

    def _trainer(self) -> Trainer:
        """Return the run that trains the teacher alone.

        A finished one is not trained for longer, so that all students have the same teacher.
        """
        folder = self.out / TEACHER
        length = saved_length(read_toml(folder / RECIPE_FILE)) if is_finished(folder) else {}
        settings = without_replaced_length(self._settings, length)
        settings.pop("train_teacher", None)
        return Trainer(self.teacher, **vars(self.config), **settings, **length)

    def _compressor(self, teacher: Teacher, budget: str) -> _SweepRun:
        frozen = self.freezes_teacher and teacher.is_trained
        settings = self._settings | {"budget": budget, "train_teacher": not frozen}
        return _SweepRun(self._save_widths, teacher, **vars(self.config), **settings)

    def _folder(self, budget: str) -> Path:
        return self.out / budget

    def _students(self) -> dict[str, dict[str, Artifact]]:
        return {budget: read(self._folder(budget) / STUDENT) for budget in self._compared}

    @cached_property
    def _compared(self) -> list[str]:
        """The budgets whose students are compared: those of this call, and of earlier ones whose recipes differ in nothing else."""
        own = self._comparable(self.first.recipe.to_dict() | {"train_teacher": not self.freezes_teacher})
        finished = [folder for folder in sorted(self.out.glob("*")) if (folder / STUDENT).is_dir() and is_finished(folder)]
        earlier: list[str] = []
        for folder in finished:
            # Files that cannot be read are not of a student to compare.
            with suppress(GccError):
                saved = with_new_fields(self.first.recipe, current_names(read_toml(folder / RECIPE_FILE)))
                if self._comparable(saved) == own and read(folder / STUDENT):
                    earlier.append(folder.name)
        return list(dict.fromkeys([*self.budgets, *earlier]))

    def _comparable(self, recipe: Mapping[str, Any]) -> dict[str, Any]:
        """Return what students must have in common to be compared: all fields but the budget, and the width that follows from it."""
        return {
            name: recipe.get(name) for name in self.first.recipe.to_dict() if name not in {"budget", "prune_width"} - self._settings.keys()
        }

    def _read_widths(self) -> dict[str, Any]:
        """Return the content of the file of widths; empty if there is none, or if it is damaged."""
        try:
            content = json.loads((self.out / WIDTHS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def _saved_widths(self, budget: str, run: Compressor) -> dict[str, Widths]:
        """Return the widths that another run has found for this one; empty if none has."""
        match self._read_widths().get(budget):
            case {"recipe": recipe, "widths": dict(widths)} if recipe == _plain(run):
                return widths
        return {}

    def _save_widths(self, budget: str, run: Compressor, widths: Mapping[str, Widths]) -> None:
        content = self._read_widths() | {budget: {"recipe": _plain(run), "widths": widths}}
        write_text(self.out / WIDTHS, json.dumps(content, indent=2) + "\n")


class _SweepRun(Compressor):
    """A run of a sweep, whose first step also finds the widths of other runs.

    Attributes:
        same_search: the later runs whose first step would train the same pair, by budget; empty after this run's first step.

    Args:
        save_widths: receives the budget, the run and the widths of each of these.
        teacher: the teacher.
        options: keywords of `Compressor`.
    """

    same_search: dict[str, Compressor]

    def __init__(self, save_widths: Callable[[str, Compressor, Mapping[str, Widths]], None], teacher: Teacher, **options: Any) -> None:
        super().__init__(teacher, **options)
        self.same_search = {}
        self._save_widths = save_widths

    def search_channels(self, searched: GANPair) -> dict[str, Chosen]:
        trained = deepcopy(searched.state_dict()) if self.same_search else {}
        channels = super().search_channels(searched)
        while self.same_search:
            budget, run = self.same_search.popitem()
            # The gradients that a metric reads may have changed running statistics.
            searched.load_state_dict(trained)
            chosen = search_channels(run.context, run.metric, searched)
            self._save_widths(budget, run, {name: one.widths for name, one in chosen.items()})
        return channels


def require_one_runtime(budgets: Sequence[str], generators: Sequence[str]) -> None:
    """Refuse latencies of one generator in different runtimes, since students and teacher are compared by their time in one.

    Args:
        budgets: those of all students that are compared.
        generators: the generators' names.

    Raises:
        BudgetError: there are such latencies, or a budget is malformed.
    """
    for limits in zip(*(Budget.parse_each(budget, generators).values() for budget in budgets), strict=True):
        runtimes = dict.fromkeys(limit.runtime for limit in limits if isinstance(limit, LatencyBudget))
        if len(runtimes) > 1:
            raise BudgetError(
                f"budgets {', '.join(budgets)}: expected latencies in one runtime, not in {' and '.join(runtimes)}, whose times cannot be "
                "compared; run one sweep for each runtime, each with its own `out`"
            )


def _epoch(measurements: Measurements) -> Measurements:
    """Return which epoch the measurements are of."""
    return {key: value for key, value in measurements.items() if key in ("epoch", "epoch_note")}


def _plain(run: Compressor) -> dict[str, Any]:
    """Return a run's recipe as JSON gives it back."""
    recipe: dict[str, Any] = json.loads(json.dumps(run.recipe.to_dict()))
    return recipe


def _search(run: Compressor) -> dict[str, Any]:
    """Return what the first step of a run depends on, beside what all runs share."""
    return {name: value for name, value in run.recipe.to_dict().items() if name != "budget"}

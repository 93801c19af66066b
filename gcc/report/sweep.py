"""The page of a sweep: quality over cost, one table, and the samples of all students side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gcc.artifacts.comparison import Measurements, by_protocol, comparison, comparison_rows, direction, latency_note
from gcc.artifacts.config import parse_measurements
from gcc.artifacts.model import read
from gcc.artifacts.run_folder import RECIPE_FILE, STUDENT, TEACHER, command_line_of, resume_command
from gcc.artifacts.run_info import read_info
from gcc.errors import ArtifactError, RunError, first_line
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.recipe import MacCounter, Recipe, read_toml, size_text
from gcc.registry import unit_of
from gcc.report.cells import COSTS, Column, Fact, NextStep, Summary, bench_line, code_option, duration, limited, picture, shell_line
from gcc.report.html import Plot, Section, page, plot, require_report_or_new
from gcc.report.panels import Curve, Panel, framed
from gcc.report.run_record import HELD_OUT, read_grid
from gcc.utils.files import write_text
from gcc.utils.units import counted

MEASUREMENTS, PLAN, SAMPLES = "sweep.json", "sweep-plan.json", "sweep.png"
"""The files of a sweep that its page is written from, and the one that is written first."""
OTHER_BUDGETS = ("75%", "50%", "25%", "10%", "5%")
"""Budgets for one more student, of which the page names the first that the sweep lacks."""
Columns = Mapping[str, Mapping[str, Measurements]]
"""Measurements by generator and title: the teacher first, then the students by budget."""


@dataclass(frozen=True)
class SweepRecord:
    """What the page of a sweep shows.

    Attributes:
        folder: its folder.
        arch: name of the architecture.
        about: a few words each about the runs.
        columns: the measurements.
        counter: how MACs are counted for the budgets.
        environment: versions and device of the first run.
        code: the option that gives the generator's code; empty if that is not the user's own.
    """

    folder: Path
    arch: str
    about: Sequence[str]
    columns: Columns
    counter: MacCounter
    environment: Mapping[str, str]
    code: Sequence[str] = ()

    @property
    def bench_lines(self) -> dict[str, str]:
        """The commands that measure the speed of the first student and its teacher again, by generator."""
        run = next(iter(self.students.values())).parent
        inside = {name: name if len(self.columns) > 1 else "" for name in self.columns}
        return {name: bench_line([run / role / path for role in (STUDENT, TEACHER)], self.code) for name, path in inside.items()}

    @property
    def students(self) -> dict[str, Path]:
        """The folders of the students, by budget."""
        _, *budgets = next(iter(self.columns.values()))
        return {budget: self.folder / budget / STUDENT for budget in budgets}


def is_sweep(folder: Path) -> bool:
    """Return whether a folder contains a sweep."""
    return (folder / PLAN).is_file()


def read_sweep(folder: Path) -> SweepRecord:
    """Return the content of a sweep's folder.

    Raises:
        RunError: the sweep is not finished, or a file of it is damaged.
        GccError: a saved generator is damaged, or its architecture is not installed.
    """
    path = folder / MEASUREMENTS
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        columns = {
            name: {title: parse_measurements(title, values) for title, values in measured.items()} for name, measured in content.items()
        }
        _, budget, *_ = next(iter(columns.values()))
    except FileNotFoundError as error:
        raise RunError(f"the sweep in {folder} is not finished: continue it with {resume_command('sweep', folder)}") from error
    except (OSError, ValueError, AttributeError, StopIteration, RecursionError, ArtifactError) as error:
        raise RunError(f"{path} is damaged ({first_line(error)}): write it again with {resume_command('sweep', folder)}") from error
    student = next(iter(read(folder / budget, "student").values()))
    about, counter = _about(folder, student.recipe), student.recipe.mac_counter
    return SweepRecord(folder, student.arch, about, columns, counter, student.environment, code_option(student))


def teacher_text(epochs: int | None, *, is_frozen: bool) -> str:
    """Describe the teacher of a sweep.

    Args:
        epochs: those that the sweep trains it for, alone; None if it was given, or trains along with the students.
        is_frozen: whether it is frozen while the students train.
    """
    if epochs is not None:
        return f"one teacher, trained for {counted(epochs, 'epoch')} and then frozen"
    return "one teacher, frozen" if is_frozen else "the teacher trains along with every student"


def _about(folder: Path, recipe: Recipe) -> list[str]:
    """Return a few words each about the runs, by the recipe of a student."""
    teacher = folder / TEACHER / RECIPE_FILE
    epochs = read_toml(teacher)["epochs"] if teacher.is_file() else None
    length = counted(recipe.epochs, "epoch")
    return [f"{size_text(recipe)} pixels", length, f"seed {recipe.seed}", teacher_text(epochs, is_frozen=not recipe.train_teacher)]


def save_sweep_report(path: Path, record: SweepRecord) -> Path:
    """Write the page of a sweep, and return its path.

    Args:
        path: the file.
        record: its content.

    Raises:
        RunError: the picture with samples of all students cannot be read.
        OutputError: the file cannot be written, or exists and is not a report.
    """
    name = record.folder.resolve().name
    sections = [
        Section("Quality over cost", "On held-out images; each mark is a student with its budget.", "plots", [_plots(record)]),
        Section("Students", "", "summary", [_summaries(record)]),
        Section("Samples", "", "samples", [[picture(read_grid(record.folder / SAMPLES, HELD_OUT))]]),
        Section("Run", "", "run", [_run(record)]),
        Section("Next steps", "", "steps", [next_steps(record)]),
        Section("Environment", "", "facts", [[Fact(name, value) for name, value in record.environment.items()]]),
    ]
    require_report_or_new(path)
    write_text(path, page(name, [name], [[record.arch, *record.about]], sections))
    return path


def curve_panels(record: SweepRecord) -> list[Panel]:
    """Return a panel per generator and metric: the metric over the cost that the budgets limit."""
    panels = []
    for generator, measured in record.columns.items():
        teacher, *students = measured
        cost = _cost(record, students)
        for key in measured[teacher]["metrics"]:
            points = sorted((measured[title][cost], measured[title]["metrics"][key], title) for title in students)
            x, y, notes = zip(*points, strict=True)
            value = measured[teacher]["metrics"][key]
            curves = [
                _curve("student", x, y, notes),
                _curve("teacher", [measured[teacher][cost]], [value], []),
            ]
            title = " ".join(filter(None, (generator if len(record.columns) > 1 else "", key, direction(key))))
            panels += framed(title, curves, COSTS[cost], unit_of(key))
    return panels


def markdown_tables(columns: Columns) -> str:
    """Return a table per generator as Markdown, with the protocols of its metrics."""
    tables = []
    for generator, measured in columns.items():
        lines = [f"| {generator} | {' | '.join(measured)} |", f"|---|{'---:|' * len(measured)}"]
        lines += [f"| {title} | {' | '.join(cells)} |" for title, cells in comparison(measured).items()]
        lines += ["", *(f"{', '.join(keys)}: {protocol}" for protocol, keys in by_protocol(measured.values()).items())]
        tables.append("\n".join(lines).rstrip() + "\n")
    return "\n".join(tables)


def _run(record: SweepRecord) -> list[Fact]:
    """Return the command, and the training time of all runs, as far as they are known."""
    infos = [info for folder in sorted(record.folder.iterdir()) if (info := read_info(folder))]
    facts = {
        "started": min(info.started for info in infos).replace("T", " ") if infos else "",
        "training time": duration(sum(info.seconds for info in infos)) if infos else "",
        "command": command_line_of(record.folder),
        "machine": infos[0].machine if infos else "",
    }
    return [Fact(name, value) for name, value in facts.items() if value]


def next_steps(record: SweepRecord) -> list[NextStep]:
    """Return commands that add a student, and compare and measure those that are there."""
    students = [*record.students.values()]
    other = next((budget for budget in OTHER_BUDGETS if budget not in record.students), "BUDGET")
    return [
        NextStep("train one more student", shell_line("gcc", "sweep", "--resume", record.folder, "--budget", other, *record.code)),
        NextStep(
            "compare the runs", shell_line("gcc", "report", *(student.parent for student in students), "--out", record.folder / "runs.html")
        ),
        NextStep("measure quality again", shell_line("gcc", "evaluate", students[0], *record.code)),
    ]


def _curve(label: str, x: Sequence[float], y: Sequence[float], notes: Sequence[str]) -> Curve:
    """Return a curve through the points whose values are finite."""
    finite = np.isfinite(np.array(y, dtype=float))
    notes = [note for note, is_finite in zip(notes, finite, strict=False) if is_finite]
    return Curve(label, f"var(--{label})", np.array(x, dtype=float)[finite], np.array(y, dtype=float)[finite], 0, notes)


def _cost(record: SweepRecord, budgets: Sequence[str]) -> str:
    """Return the cost that all budgets limit; MACs, counted exactly, if they limit different ones."""
    costs = {limited(_parse(part), record.counter) for budget in budgets for part in budget.split(",")}
    return costs.pop() if len(costs) == 1 else "exact_macs"


def _parse(budget: str) -> Budget | LatencyBudget:
    (parsed,) = Budget.parse_each(budget, ["G"]).values()
    return parsed


def _plots(record: SweepRecord) -> list[Plot]:
    return [plot(panel) for panel in curve_panels(record)]


def _summaries(record: SweepRecord) -> list[Summary]:
    summaries = []
    for generator, measured in record.columns.items():
        teacher, *students = measured
        titles = [Column(teacher, "teacher"), *(Column(title, "student") for title in students)]
        rows = [(row.title, [str(cell) for cell in row.cells]) for row in comparison_rows(measured)]
        note = latency_note(measured, record.bench_lines[generator])
        summaries.append(Summary(generator, [], titles, rows, by_protocol(measured.values()), note))
    return summaries

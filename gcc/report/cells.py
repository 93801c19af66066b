"""The content of a report's sections for one run, as plain data; a section that the run has nothing for is empty."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gcc.artifacts.comparison import AS_GIVEN, ROLES, Measurements, by_protocol, comparison_rows, latency_note, pruned_from
from gcc.artifacts.config import WIDTHS_FROM, Artifact
from gcc.artifacts.run_folder import STUDENT, TEACHER, code_in, code_of, data_of
from gcc.artifacts.run_info import RunInfo
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost
from gcc.recipe import MacCounter, text_of_size
from gcc.registry import MetricKey
from gcc.report.run_record import Grid, RunRecord
from gcc.utils.units import with_prefix

COSTS = {"exact_macs": "MACs, exact", "paper_macs": "MACs, paper's counter", "parameters": "parameters", "ready_ms": "latency"}
"""The names of costs in the tiles."""


@dataclass(frozen=True)
class Tile:
    """One of the most important results, in large type.

    Attributes:
        value: the result with its unit.
        label: what it is.
        note: the numbers that it comes from.
    """

    value: str
    label: str
    note: str


@dataclass(frozen=True)
class Column:
    """A column of the comparison.

    Attributes:
        title: such as `student (best)`.
        kind: `teacher`, `student` or `budget`, which decides its colour.
    """

    title: str
    kind: str


@dataclass(frozen=True)
class Summary:
    """The costs, latency and quality of one generator.

    Attributes:
        name: the generator's name.
        tiles: the most important results; none for a teacher.
        columns: teacher, student, their variants, and the budget if there is one.
        rows: titles and their cells, one per column.
        protocols: the metrics by the protocol that they were computed with.
        latency_note: a warning on the latencies; may be empty.
    """

    name: str
    tiles: Sequence[Tile]
    columns: Sequence[Column]
    rows: Sequence[tuple[str, Sequence[str]]]
    protocols: Mapping[str, Sequence[MetricKey]]
    latency_note: str


@dataclass(frozen=True)
class Picture:
    """A sample grid with the data of its file in `source`."""

    source: str
    width: int
    height: int
    title: str


@dataclass(frozen=True)
class PrunedLayer:
    """A layer with `width` of its `channels` left; `pruned` is the share of the others."""

    name: str
    pruned: float
    width: int
    channels: int


@dataclass(frozen=True)
class PrunedGenerator:
    """The layers of a student generator, and which generator they were pruned from."""

    name: str
    source: str
    layers: Sequence[PrunedLayer]


@dataclass(frozen=True)
class NextStep:
    """A command and what it is for."""

    purpose: str
    command: str


@dataclass(frozen=True)
class Fact:
    """A value by its name; `differs` if another run of the report has another value."""

    name: str
    value: str
    differs: bool = False


def about(record: RunRecord) -> list[str]:
    """Return a short description of the run."""
    recipe = record.recipe
    facts = [
        record.arch,
        f"{text_of_size(recipe.get('image_width') or recipe['size'], recipe['size'])} pixels" if "size" in recipe else "",
        f"{recipe['epochs']} {'epoch' if recipe['epochs'] == 1 else 'epochs'}" if "epochs" in recipe else "",
        f"seed {recipe['seed']}" if "seed" in recipe else "",
        record.state,
        date(record.info) if record.info else "",
    ]
    return [fact for fact in facts if fact]


def date(info: RunInfo) -> str:
    """Return the day on which a run was started, such as "27 November 2026"."""
    started = datetime.fromisoformat(info.started)
    return f"{started.day} {started:%B %Y}"


def run(record: RunRecord) -> list[Fact]:
    """Return when, how long, by what command and on what machine a run has trained, as far as it is known."""
    info = record.info
    facts = {
        "started": info.started.replace("T", " ") if info else "",
        "training time" if record.is_finished else "training time so far": duration(info.seconds) if info else "",
        "command": record.command,
        "machine": info.machine if info else "",
    }
    return [Fact(name, value) for name, value in facts.items() if value]


def duration(seconds: float) -> str:
    """Return a time in its two largest units.

    >>> duration(7384), duration(59.6)
    ('2 h 3 min', '1 min 0 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def next_steps(record: RunRecord) -> list[NextStep]:
    """Return commands that continue a run, and that use what it has saved; none without a folder."""
    if record.folder is None:
        return []
    return [*_continuation(record, record.folder), *_uses(record, record.folder)]


def _continuation(record: RunRecord, folder: Path) -> list[NextStep]:
    """Return the command that continues a run; none if it is finished, or if the command that started it is unknown."""
    words = record.command.split()[:2]
    if record.is_finished or not words:
        return []
    own = ("--generator", code) if (code := code_in(folder)) else ()
    return [NextStep("continue the run", shell_line(*words, "--resume", folder, *own))]


def _uses(record: RunRecord, run_folder: Path) -> list[NextStep]:
    """Return commands that use the generators that a run has saved in its folder."""
    if not record.saved:
        return []
    teacher, folder = run_folder / TEACHER, run_folder / STUDENT
    if not record.students:
        own = code_option(next(iter(record.teachers.values())))
        line = shell_line("gcc", "compress", "--teacher", teacher, *own, *_data(teacher), "--budget", "25%")
        return [NextStep("compress this teacher", line)]
    artifact = next(iter(record.students.values()))
    own = code_option(artifact)
    use = (
        ("generate", artifact.folder, "--count", "16")
        if artifact.architecture.takes_noise
        else ("translate", artifact.folder, "photo.png", "out.png")
    )
    evaluators = () if artifact.recipe.evaluators else ("--evaluators", "fd_effnetlite0")
    return [
        NextStep("generate images", shell_line("gcc", *use, *own)),
        NextStep("measure quality again", shell_line("gcc", "evaluate", folder, *own, *evaluators)),
        NextStep("measure the speed", bench_line([artifact.folder, teacher / artifact.folder.relative_to(folder)], own)),
        NextStep("export for other runtimes", shell_line("gcc", "export", artifact.folder, "--format", "onnx", *own)),
    ]


def code_option(artifact: Artifact) -> tuple[str, ...]:
    """Return the option that gives a generator's code, if it is the user's own: as the command of the run named it, if that is known."""
    return ("--generator", code_of(artifact.folder) or "MODULE:NAME") if artifact.needs_factory else ()


def bench_line(folders: Sequence[Path], code: Sequence[str]) -> str:
    """Return the command that measures the speed of a saved generator, and of another one that it is compared with if there is one.

    Args:
        folders: those of the generators.
        code: the option that gives their code; empty if that is not the user's own.
    """
    return shell_line("gcc", "bench", folders[0], *(word for folder in folders[1:] for word in ("--against", folder)), *code)


def _data(teacher: Path) -> list[str | Path]:
    known = data_of(teacher)
    return ["--data", known.folder] if known and known.folder else []


def shell_line(*words: str | Path) -> str:
    """Return a command line for a shell."""
    return shlex.join(map(str, words))


def summary(record: RunRecord) -> list[Summary]:
    """Return the costs, latency and quality of every generator: teacher, student and budget side by side."""
    return [_summary(name, artifact, record.teachers.get(name)) for name, artifact in record.saved.items() if artifact.measurements]


def samples(record: RunRecord) -> list[Picture]:
    """Return the sample grids: the held-out one first, then some that were saved during training."""
    if record.samples is None:
        return []
    progress = [grid for grid in record.progress if grid.png != record.samples.png]
    return [picture(grid) for grid in (record.samples, *progress)]


def pruning(record: RunRecord) -> list[PrunedGenerator]:
    """Return the share of pruned channels of every layer of the student generators (Figure III)."""
    return [
        PrunedGenerator(student.generator, f"{pruned_from(student.architecture)}{_ranked_by(student)}", _pruned_layers(student))
        for student in record.students.values()
    ]


def _ranked_by(student: Artifact) -> str:
    """Return by which metric the channels were ranked; empty if the widths are another student's."""
    return "" if WIDTHS_FROM in student.environment else f". The channels were ranked by {student.recipe.metric}"


def recipe(record: RunRecord, differing: Collection[str]) -> list[Fact]:
    """Return the fields of the recipe.

    Args:
        record: the run.
        differing: the names of those that differ between the runs of the report.
    """
    return [
        Fact(name, str(value).lower() if isinstance(value, bool) else str(value), name in differing)
        for name, value in record.recipe.items()
    ]


def environment(record: RunRecord) -> list[Fact]:
    """Return the versions and the device of the run, as its saved generators name them."""
    environments = (artifact.environment for artifact in record.saved.values() if artifact.environment)
    return [Fact(name, value) for name, value in next(environments, {}).items()]


def _summary(name: str, artifact: Artifact, teacher: Artifact | None) -> Summary:
    others = [teacher] if teacher and teacher is not artifact else []
    again = bench_line([one.folder for one in (artifact, *others)], code_option(artifact))
    measurements, budget = artifact.measurements, _budget(artifact)
    columns = [Column(title, next(filter(title.startswith, ROLES), "")) for title in measurements]
    rows = comparison_rows(measurements)
    cells = [[str(cell) for cell in row.cells] for row in rows]
    if budget is not None:
        columns.append(Column("budget", "budget"))
        counter = artifact.recipe.mac_counter
        for row, of_row in zip(rows, cells, strict=True):
            of_row.append(limit(budget, counter, measurements["teacher"]) if row.key == limited(budget, counter) else "")
    titled = [(row.title, of_row) for row, of_row in zip(rows, cells, strict=True)]
    return Summary(name, _tiles(artifact, budget), columns, titled, by_protocol(measurements.values()), latency_note(measurements, again))


def _budget(artifact: Artifact) -> Budget | LatencyBudget | None:
    """Return the budget that a generator was compressed to. None if its widths were not searched, or its file lacks the limited cost."""
    if WIDTHS_FROM in artifact.environment or not _is_compared(artifact):
        return None
    budget = Budget.parse_each(artifact.recipe.budget, artifact.architecture.generators)[artifact.generator]
    is_measured = all(limited(budget, artifact.recipe.mac_counter) in column for column in artifact.measurements.values())
    return budget if is_measured else None


def _is_compared(artifact: Artifact) -> bool:
    """Return whether a generator is a student that is saved with its teacher's measurements."""
    return artifact.role == "student" and {"teacher", "student"} <= artifact.measurements.keys()


def _tiles(artifact: Artifact, budget: Budget | LatencyBudget | None) -> list[Tile]:
    """Return the most important results of a student: its share of the teacher's costs, its speed-up, and its first metric."""
    if not _is_compared(artifact):
        return []
    title = AS_GIVEN["teacher"] if AS_GIVEN["teacher"] in artifact.measurements else "teacher"
    teacher, student = artifact.measurements[title], artifact.measurements["student"]
    rows = {row.key: row for row in comparison_rows({title: teacher, "student": student})}
    counter = artifact.recipe.mac_counter
    first, at_most, runtime = f"{counter}_macs", "", ""
    if budget is not None:
        first, at_most = limited(budget, counter), f"; budget {limit(budget, counter, teacher)}"
        runtime = f" by {budget.runtime}" if isinstance(budget, LatencyBudget) else ""
    second = "exact_macs" if first == "parameters" else "parameters"
    tiles = []
    for key, note in ((first, at_most), (second, "")):
        theirs, own = rows[key].cells
        share = f"{_ratio(student[key], teacher[key]):.1%}"
        where = runtime if key == "ready_ms" else ""
        tiles.append(Tile(share, f"of the teacher's {COSTS[key]}{where}", f"{own.value}, {title} {theirs.value}{note}"))
    theirs, own = rows["latency_ms"].cells
    speed_up = f"{_ratio(teacher['latency_ms'], student['latency_ms']):.1f}x"
    tiles.append(Tile(speed_up, "as fast by torch, unoptimised" if runtime else "as fast", f"{own.value}, {title} {theirs.value}"))
    for metric in list(teacher["metrics"])[:1]:
        theirs, own = rows[metric].cells
        difference = f", difference {own.relative}" if own.relative else ""
        tiles.append(Tile(own.value, rows[metric].title, f"{title} {theirs.value}{difference}"))
    return tiles


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else float("nan")


def picture(grid: Grid) -> Picture:
    """Return a sample grid as the page contains it."""
    return Picture(f"data:image/png;base64,{base64.b64encode(grid.png).decode()}", grid.width, grid.height, grid.title)


def _pruned_layers(student: Artifact) -> list[PrunedLayer]:
    full, widths = student.architecture.full_widths(student.recipe.prune_width), student.widths
    return [PrunedLayer(name, max(0.0, 1 - widths[name] / channels), widths[name], channels) for name, channels in full.items()]


def limited(budget: Budget | LatencyBudget, counter: MacCounter) -> str:
    """Return which cost a budget limits: `exact_macs`, `paper_macs`, `parameters` or `ready_ms`."""
    if isinstance(budget, LatencyBudget):
        return "ready_ms"
    return "parameters" if budget.quantity == "params" else f"{counter}_macs"


def limit(budget: Budget | LatencyBudget, counter: MacCounter, teacher: Measurements) -> str:
    """Return the limit of a budget, as the cell of a table."""
    if isinstance(budget, LatencyBudget):
        return f"at most {budget.milliseconds:.4g} ms"
    cost = Cost(teacher["exact_macs"], teacher["paper_macs"], teacher["parameters"], teacher["resolution"])
    share = f" ({100 * budget.amount:.4g}%)" if budget.share else ""
    return f"at most {with_prefix(budget.limit(cost, counter))}{share}"

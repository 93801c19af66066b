"""The report: one HTML file without scripts that needs no network and no server, about one run or several side by side.

`cells` and `panels` prepare plain data; the templates lay it out and escape it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from gcc.artifacts.metrics_log import Phase
from gcc.artifacts.run_folder import REPORT_FILE
from gcc.errors import OutputError, RunError
from gcc.report import cells
from gcc.report.panels import TARGET, Panel, activity_panels, aligned, balance_panels, loss_panels, quality_panels
from gcc.report.plots import Drawing, draw
from gcc.report.run_record import RunRecord, phase_title, read_run
from gcc.utils.files import explained, write_text
from gcc.utils.templates import render

GENERATOR = "gan-gcc"
MARKER = f'<meta name="generator" content="{GENERATOR}">'
"""The element that distinguishes a report from other files."""
MARKER_END = 1024
"""The marker is within this many bytes of the file's start."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""A browser loads nothing that is not in the page."""
LEADS: Mapping[str, str] = {Phase.SEARCH: "Losses of the search phase; its generator was then pruned."}
"""Explanations of the losses of a phase."""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        heading: its title.
        lead: an explanation; may be empty.
        kind: the macro of `cells.html.j2` that lays out its cells.
        cells: the content of each run; empty if the run has none.
    """

    heading: str
    lead: str
    kind: str
    cells: Sequence[Any]


@dataclass(frozen=True)
class LegendEntry:
    """The name of a curve with its colour, its kind of line and its last value."""

    label: str
    paint: str
    line: str
    value: str


@dataclass(frozen=True)
class Plot:
    """A panel with its legend and its drawing."""

    title: str
    legend: Sequence[LegendEntry]
    drawing: Drawing


def save_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report on runs, and return its path.

    Args:
        runs: their folders.
        out: the file; None for `report.html` in the folder of a single run, or in the current folder for several.

    Raises:
        GccError: a run cannot be read, or the file cannot be written or exists and is not a report.
    """
    path = out or (runs[0] / REPORT_FILE if len(runs) == 1 else Path(REPORT_FILE))
    require_report_or_new(path)
    write_text(path, report(runs))
    return path


def report(runs: Sequence[Path]) -> str:
    """Return the page on these runs.

    Args:
        runs: at least one folder.

    Raises:
        RunError: there is no run, a folder is not a run's, or a file in it is damaged.
        GccError: a recipe or a saved generator is damaged, or its architecture is not installed.
    """
    if not runs:
        raise RunError("no run to report on: expected at least one folder, such as runs/pix2pix")
    return report_of([read_run(folder) for folder in runs])


def report_of(records: Sequence[RunRecord]) -> str:
    """Return the page on at least one record."""
    are_distinct = len({record.name for record in records}) == len(records)
    names = [record.name if are_distinct else str(record.folder) for record in records]
    title = " and ".join(names) if len(names) < 3 else f"{len(names)} runs"
    return page(title, names, [cells.about(record) for record in records], _sections(records))


def page(title: str, runs: Sequence[str], about: Sequence[Sequence[str]], sections: Iterable[Section]) -> str:
    """Return a page; sections that no run has anything for are left out.

    Args:
        title: its heading.
        runs: the names of its columns; the content of a single one is not named.
        about: a few words each about every run.
        sections: its sections, with a cell per run.
    """
    return render(
        "gcc.report",
        "report.html.j2",
        title=title,
        runs=runs,
        about=about,
        sections=[section for section in sections if any(section.cells)],
        generator=GENERATOR,
        policy=POLICY,
        version=version("gan-gcc"),
    )


def require_report_or_new(path: Path) -> None:
    """Refuse a path that a report must not be written to.

    Raises:
        OutputError: it is a folder, or a file that is not a report.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder: expected a file, such as {path / REPORT_FILE}")
    if not path.exists():
        return
    with explained(path), path.open("rb") as file:
        start = file.read(MARKER_END)
    if MARKER.encode() not in start:
        raise OutputError(f"{path} exists already, and is not a report: choose another `out`, or move it aside")


def _sections(records: Sequence[RunRecord]) -> Iterator[Section]:
    def of_panels(heading: str, lead: str, panels: Callable[[RunRecord], list[Panel]]) -> Section:
        of_runs = aligned([panels(record) for record in records])
        return Section(heading, lead, "plots", [[plot(panel) for panel in of_run] for of_run in of_runs])

    yield Section("Summary", "", "summary", [cells.summary(record) for record in records])
    yield Section("Samples", "", "samples", [cells.samples(record) for record in records])
    yield of_panels("Quality over epochs", "On the validation images.", quality_panels)
    yield of_panels(
        "Generator-discriminator balance", _balance_lead(records), lambda record: [*balance_panels(record), *activity_panels(record)]
    )
    lead = "Share of each layer's channels that was pruned from the generator (Figure III of the paper)."
    yield Section("Pruned channels", lead, "pruning", [cells.pruning(record) for record in records])
    for phase in _phases(records):
        yield of_panels(f"Losses: {phase_title(phase)}", LEADS.get(phase, ""), partial(loss_panels, phase=phase))
    yield Section("Run", "", "run", [cells.run(record) for record in records])
    yield Section("Next steps", "", "steps", [cells.next_steps(record) for record in records])
    differing = _differing(records)
    lead = "Bold where the runs differ." if differing else ""
    yield Section("Recipe", lead, "facts", [cells.recipe(record, differing) for record in records])
    yield Section("Environment", "", "facts", [cells.environment(record) for record in records])


def _balance_lead(records: Sequence[RunRecord]) -> str:
    idle = [record.name for record in records if record.keeps_all_channels_on]
    if any(record.has_target for record in records):
        lead = (
            "|L_G - L_Dfake| of both pairs and the target, a moving average of the teacher's values. The student's discriminator follows "
            "the target by opening and closing channels (Eq. 7); the share of open channels of each layer is also shown."
        )
    else:
        lead = (
            "|L_G - L_Dfake| of the pairs. There is no target: it needs the teacher's discriminator, and lambda_global above 0 (Eq. 7). "
            "The share of open channels of each layer is also shown."
        )
    return lead + (f" No channel ever switched off in {', '.join(idle)}: train longer, or raise lr_alpha." if idle else "")


def plot(panel: Panel) -> Plot:
    """Return a panel with its legend and its drawing."""
    legend = [
        LegendEntry(
            curve.label,
            curve.paint,
            TARGET if curve.label == TARGET else "key",
            f"{curve.smooth[-1]:.3g} {panel.unit}".rstrip(),
        )
        for curve in panel.curves
    ]
    return Plot(panel.title, legend, draw(panel))


def _phases(records: Sequence[RunRecord]) -> list[str]:
    """Return the phases of all runs, the last first, because it trained what was saved; phases unknown to this version go last."""
    recorded = {phase for record in records for phase in record.phases}
    known = [phase.value for phase in reversed(Phase) if phase in recorded]
    return [*known, *sorted(recorded.difference(known), reverse=True)]


def _differing(records: Sequence[RunRecord]) -> set[str]:
    fields = {name for record in records for name in record.recipe}
    return {name for name in fields if len({record.recipe.get(name) for record in records}) > 1}

"""The report: one HTML file that needs no network, no server and no script, of one run or of several side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from importlib.resources import files
from itertools import count
from pathlib import Path

from gcc.artifacts.metrics_log import PHASES
from gcc.errors import OutputError, RunError
from gcc.report import cells
from gcc.report.markup import Html, tag
from gcc.report.panels import Panel, activity_panels, aligned, balance_panels, loss_panels, quality_panels
from gcc.report.run_record import RunRecord, read_run
from gcc.utils.files import explained, write_text

REPORT = "report.html"
"""File of a report, in the folder of its run."""
MARKED = '<meta name="generator" content="gan-gcc">'
"""Tells a report from any other file."""
START = 1024
"""Bytes at a file's beginning among which that is."""
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser lets the page load: nothing that is not in it."""
LEADS = {"search": "Of the pair in the teacher's part whose generator was pruned afterwards."}
"""What a reader has to know of the losses of a phase."""
MISSING = "pip install 'gan-gcc[report]'"
Draw = Callable[[Panel, str], Html]
"""Draws a panel under a key that no other drawing of the page has."""


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        heading: what it shows.
        lead: what a reader has to know of it; may be empty.
        cells: of each run; empty where that has nothing to show.
    """

    heading: str
    lead: str
    cells: Sequence[Html]


def save_report(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Write the report of runs, and return where it is.

    Args:
        runs: their folders.
        out: the file; none takes `report.html`, in the folder of a single run, else in the current one.

    Raises:
        GccError: a run cannot be read, or the file cannot be written or is something else than a report.
    """
    place = out or (runs[0] / REPORT if len(runs) == 1 else Path(REPORT))
    _require_ours(place)
    write_text(place, report(runs))
    return place


def report(runs: Sequence[Path]) -> str:
    """Return the page on these runs; where matplotlib is missing it goes without curves, and says so.

    Args:
        runs: at least one folder.

    Raises:
        RunError: there is none, one is no run's folder, or a file in one is damaged.
        GccError: a recipe or a saved generator is damaged, or its architecture is not installed.
    """
    if not runs:
        raise RunError("no run to report on: expected at least one folder, such as runs/pix2pix")
    records = [read_run(folder) for folder in runs]
    alike = len({record.name for record in records}) < len(records)
    names = [str(record.folder) if alike else record.name for record in records]
    title = " and ".join(names) if len(names) < 3 else f"{len(names)} runs"
    draw, hint = _drawing()
    sections = [_section(part, names) for part in _sections(records, draw) if any(part.cells)]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Html(MARKED),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", f"{title} - GAN compression report"),
        tag("style", Html(files("gcc.report").joinpath("report.css").read_text(encoding="utf-8"))),
    )
    kicker, about = tag("p", "GAN compression report", class_="kicker"), _side_by_side(names, [cells.about(each) for each in records])
    made = f"Made by gan-gcc {version('gan-gcc')}. MACs are per sample; latency is the median for one sample."
    body = tag("body", tag("header", kicker, tag("h1", title), about), tag("main", hint, *sections), tag("footer", made))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _require_ours(path: Path) -> None:
    if path.is_dir():
        raise OutputError(f"{path} is a folder: expected a file, such as {path / REPORT}")
    if not path.exists():
        return
    with explained(path), path.open("rb") as file:
        start = file.read(START)
    if MARKED.encode() not in start:
        raise OutputError(f"{path} is there already, and is no report: choose another --out, or move it aside")


def _drawing() -> tuple[Draw | None, Html]:
    """Return what draws panels, and what the page says where nothing does."""
    try:
        from gcc.report.plots import svg
    except ImportError as error:
        told = f"The curves are left out, since matplotlib is missing ({error}). Install it, then make the report anew with "
        return None, tag("p", told, tag("code", "gcc report RUN"), ": ", tag("code", MISSING), class_="hint")
    return svg, Html()


def _sections(records: Sequence[RunRecord], draw: Draw | None) -> Iterator[Section]:
    numbers = count(1)

    def plotted(heading: str, lead: str, panels: Callable[[RunRecord], list[Panel]]) -> Section:
        found = aligned([panels(record) for record in records])
        return Section(heading, lead, [_figures(each, draw, numbers) for each in found] if draw else [])

    yield Section("Summary", "", [cells.summary(record) for record in records])
    yield Section("Samples", "", [cells.samples(record) for record in records])
    yield plotted("Quality over epochs", "On the validation images.", quality_panels)
    yield plotted(
        "Balance of the game",
        "|L_G - L_Dfake| of the teacher's and the student's pair, and the target, the moving average of the teacher's. The student's "
        "discriminator follows the target by opening and closing channels (Eq. 7): each layer's share of open ones is beside it.",
        lambda record: [*balance_panels(record), *activity_panels(record)],
    )
    lead = "Share of each layer's channels that was pruned from the generator (Figure III of the paper)."
    yield Section("Pruned channels", lead, [cells.pruning(record) for record in records])
    for phase in _phases(records):
        yield plotted(f"Losses: {PHASES.get(phase, phase)}", LEADS.get(phase, ""), partial(loss_panels, phase=phase))
    differing = _differing(records)
    yield Section("Recipe", "Bold where the runs differ." if differing else "", [cells.recipe(record, differing) for record in records])
    yield Section("Environment", "", [cells.environment(record) for record in records])


def _phases(records: Sequence[RunRecord]) -> list[str]:
    """Return the phases of all runs, the last first: it is the one that made what was saved."""
    found = {phase for record in records for phase in record.series}
    return list(reversed([*sorted(found - PHASES.keys()), *(phase for phase in PHASES if phase in found)]))


def _differing(records: Sequence[RunRecord]) -> set[str]:
    fields = {name for record in records for name in record.recipe}
    return {name for name in fields if len({record.recipe.get(name) for record in records}) > 1}


def _section(part: Section, names: Sequence[str]) -> Html:
    lead = tag("p", part.lead, class_="lead") if part.lead else ""
    return tag("section", tag("h2", part.heading), lead, _side_by_side(names, part.cells))


def _side_by_side(names: Sequence[str], shown: Sequence[Html]) -> Html:
    """Return the cells in columns under the names of their runs; that of a single run as it is."""
    if len(names) == 1:
        return shown[0]
    nothing = tag("p", "nothing recorded", class_="lead")
    columns = (tag("div", tag("p", name, class_="run"), cell or nothing) for name, cell in zip(names, shown, strict=True))
    return tag("div", *columns, class_="runs")


def _figures(panels: Sequence[Panel], draw: Draw, numbers: Iterator[int]) -> Html:
    drawn = (
        tag("figure", tag("figcaption", tag("b", panel.title), _legend(panel)), draw(panel, f"drawing-{next(numbers)}"), class_="panel")
        for panel in panels
    )
    return tag("div", *drawn, class_="panels") if panels else Html()


def _legend(panel: Panel) -> Html:
    """Return the names of the curves, in their colours and with their last values."""
    return tag(
        "span",
        *(
            tag(
                "span",
                tag("i", style=f"border-color:{curve.paint}", class_="target" if curve.label == "target" else "key"),
                f"{curve.label} ",
                tag("small", f"{curve.smooth[-1]:.3g} {panel.unit}".rstrip()),
            )
            for curve in panel.curves
        ),
        class_="legend",
    )

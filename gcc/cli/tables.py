"""Tables and bars for the terminal."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

from rich.bar import Bar
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gcc.artifacts.comparison import Measurements, by_protocol, comparison, latency_note
from gcc.artifacts.run_folder import STUDENT, TEACHER, code_of
from gcc.cli.flags import with_flags
from gcc.cli.narrow import NarrowTable
from gcc.registry import Listing
from gcc.report.cells import bench_line
from gcc.report.panels import Panel
from gcc.report.sweep import SweepRecord, curve_panels, next_steps
from gcc.utils.units import shape_text, with_prefix

BAR = 40
"""Columns of the longest bar."""
CURVE_COLUMNS, CURVE_ROWS = 60, 12
"""The size of a curve, if the terminal is wide enough."""
POINT = "●"
PIPED = 200
"""Columns of a line if standard output is not a terminal."""


class TrimmedOutput:
    """Standard output that is not a terminal: lines end without blanks, which only pad the columns of a table."""

    def write(self, text: str) -> int:
        sys.stdout.write(re.sub(r" +$", "", text, flags=re.MULTILINE))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stdout, name)


def printer() -> Console:
    """Return a console for standard output. Lines are not wrapped early if it is piped, so that `grep` finds whole rows."""
    console = Console()
    if not console.is_terminal:
        console.file = cast(IO[str], TrimmedOutput())
        if "COLUMNS" not in os.environ:
            console.width = PIPED
    return console


def plugin_table(kind: str, listings: Iterable[Listing]) -> NarrowTable:
    """Return the plugins of a registry. A plugin that does not work shows why."""
    table = Table(title=f"{kind} plugins", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("name", "distribution", "version", ""):
        table.add_column(heading, overflow="fold")
    for listing in listings:
        fault = listing.fault
        description = Text(f"{fault.status}: {fault}", style="red") if fault else Text(listing.summary)
        table.add_row(Text(listing.name), Text(listing.distribution), Text(listing.version), description)
    return NarrowTable(table)


def facts_table(facts: Mapping[str, str]) -> Table:
    """Return two columns: titles and values."""
    table = Table.grid(padding=(0, 2))
    for title, value in facts.items():
        table.add_row(Text(title, style="bold"), Text(with_flags(value)))
    return table


def comparison_table(title: str, roles: Mapping[str, Measurements]) -> NarrowTable:
    """Return the costs, latency and quality of one generator, with a column per role."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for role in roles:
        table.add_column(Text(role), justify="right")
    for row, cells in comparison(roles).items():
        table.add_row(Text(row), *map(Text, cells))
    return NarrowTable(table)


def metrics_table(title: str, metrics: Mapping[str, Mapping[str, Any]]) -> NarrowTable:
    """Return metrics by name, each with its value, unit and protocol."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("metric", "value", "protocol"):
        table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
    for name, metric in metrics.items():
        table.add_row(Text(name), Text(f"{metric['value']:.4g} {metric['unit']}".rstrip()), Text(metric["protocol"]))
    return NarrowTable(table)


def timings_table(timings: Iterable[Mapping[str, Any]]) -> NarrowTable:
    """Return a row per timing: generator, runtime, input shape, milliseconds, samples per second and bytes of memory."""
    table = Table(title="timings", title_justify="left", title_style="bold")
    for heading in ("generator", "device", "input", "median", "p90", "samples/s", "memory", ""):
        table.add_column(heading, justify="left" if heading in ("generator", "device", "input") else "right", overflow="fold")
    for timing in timings:
        memory = f"{with_prefix(timing['memory'])}B" if timing["memory"] is not None else ""
        speed_up = f"{timing['speed_up']:.2f}x as fast" if timing["speed_up"] is not None else ""
        times = (f"{timing[key]:.2f} ms" for key in ("median_ms", "p90_ms"))
        setup = (timing["generator"], timing["device"], shape_text(timing["input"]))
        table.add_row(*map(Text, (*setup, *times, f"{timing['samples_per_second']:.1f}", memory, speed_up)))
    return NarrowTable(table)


def ablation_table(rows: Mapping[str, Mapping[str, str]]) -> NarrowTable:
    """Return a row per variant and a column per metric."""
    table = Table(title="ablation", title_justify="left", title_style="bold")
    table.add_column("")
    titles = list(dict.fromkeys(title for cells in rows.values() for title in cells))
    for title in titles:
        table.add_column(Text(title), justify="right")
    for variant, cells in rows.items():
        table.add_row(Text(variant), *(Text(cells.get(title, "")) for title in titles))
    return NarrowTable(table)


def sweep_tables(record: SweepRecord, width: int) -> RenderableType:
    """Return a table per generator with a column per student, protocols, quality over cost, the students' folders and the next steps.

    Args:
        record: the sweep.
        width: columns of the terminal.
    """
    tables = [comparison_table(f"{record.arch} {generator}", measured) for generator, measured in record.columns.items()]
    curves = [curve(panel, width) for panel in curve_panels(record)]
    folders = {f"student {budget} saved in": str(folder) for budget, folder in record.students.items()}
    steps = {f"to {step.purpose}": step.command for step in next_steps(record)}
    return Group(*tables, facts_table(_notes(record.columns, record.bench_lines)), *curves, facts_table(folders | steps))


def curve(panel: Panel, width: int = PIPED) -> Text:
    """Return the points of a panel drawn in text of a width, each with its note, or with the label of its curve."""
    (left, right), (low, high) = panel.x_range, panel.y_range
    labels = {0: f"{high:.4g} {panel.unit}".rstrip(), CURVE_ROWS - 1: f"{low:.4g} {panel.unit}".rstrip()}
    label_width = max(map(len, labels.values()))
    columns = max(CURVE_COLUMNS // 3, min(CURVE_COLUMNS, width - label_width - len(f" │  {panel.across}")))
    rows = [[" "] * columns for _ in range(CURVE_ROWS)]
    for line in panel.curves:
        for x, y, note in zip(line.x.tolist(), line.y.tolist(), line.notes or [line.label] * len(line.x), strict=True):
            column = round((x - left) / (right - left or 1.0) * (columns - 1))
            row = round((high - y) / (high - low) * (CURVE_ROWS - 1))
            text = f"{POINT} {note}" if column + len(note) + 2 <= columns else f"{note} {POINT}"
            start = column if text.startswith(POINT) else column + 1 - len(text)
            rows[row][max(0, start) : start + len(text)] = text
    lines = [f"{labels.get(number, ''):>{label_width}} │ {''.join(row).rstrip()}" for number, row in enumerate(rows)]
    scale = f"{with_prefix(left)}{with_prefix(right):>{columns - len(with_prefix(left))}} {panel.across}"
    axis = f"{' ' * label_width} └{'─' * (columns + 1)}"
    return Text("\n".join((panel.title, *lines, axis, f"{' ' * (label_width + 3)}{scale}")) + "\n", no_wrap=True)


def summary(arch: str, measurements: Mapping[str, Mapping[str, Measurements]], folders: Mapping[str, Path], out: Path) -> RenderableType:
    """Return what a finished run prints: a table per generator, the protocols of the metrics, and the folders with the results.

    Args:
        arch: name of the architecture.
        measurements: by generator and role.
        folders: of the saved generators, by role.
        out: the run's folder.
    """
    tables = [comparison_table(f"{arch} {generator}", roles) for generator, roles in measurements.items()]
    inside = {name: name if len(measurements) > 1 else "" for name in measurements}
    code = code_of(next(iter(folders.values())))
    own = ("--generator", code) if code else ()
    compared = [folders[role] for role in (STUDENT, TEACHER) if role in folders]
    again = {name: bench_line([folder / path for folder in compared], own) for name, path in inside.items()}
    notes = facts_table(_notes(measurements, again))
    saved = {f"{role} saved in": str(folder) for role, folder in folders.items()}
    return Group(*tables, notes, facts_table(saved | {"samples, losses, recipe in": str(out)}))


def _notes(measurements: Mapping[str, Mapping[str, Measurements]], again: Mapping[str, str]) -> dict[str, str]:
    """Return the protocols of the metrics, and a warning on latencies with the command that measures them again, by generator."""
    columns = [measured for of_generator in measurements.values() for measured in of_generator.values()]
    notes = {", ".join(names): protocol for protocol, names in by_protocol(columns).items()}
    warnings = {f"latency of {generator}": latency_note(of_generator, again[generator]) for generator, of_generator in measurements.items()}
    return notes | {title: warning for title, warning in warnings.items() if warning}


def pruning_bars(widths: Mapping[str, int], full: Mapping[str, int], source: str) -> NarrowTable:
    """Return a bar per layer with the share of its channels that was pruned, in the network's order (Figure III of the paper).

    Args:
        widths: the channels of the student.
        full: those of the generator that was pruned.
        source: says which generator that is.
    """
    table = Table(
        title=f"pruned share of each layer's channels, {source}", title_justify="left", title_style="bold", box=None, pad_edge=False
    )
    for heading in ("layer", "kept", "pruned", ""):
        table.add_column(heading, justify="right" if heading in ("kept", "pruned") else "left")
    for name, channels in full.items():
        share = 1 - widths[name] / channels
        table.add_row(name, f"{widths[name]}/{channels}", f"{share:.0%}", Bar(1, 0, share, width=BAR, color="cyan"))
    return NarrowTable(table)

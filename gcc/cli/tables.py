"""Tables and bars for the terminal."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from gcc.artifacts.comparison import Measurements, by_protocol, comparison
from gcc.registry import Listing
from gcc.utils.units import with_prefix

BAR = 40
PIPED = 200
"""Columns where standard output is no terminal."""


def printer() -> Console:
    """Return a console for standard output; where that is no terminal, lines are long, so that they can be searched."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED
    return console


def plugin_table(kind: str, listings: Iterable[Listing]) -> Table:
    """Return the plugins of one registry; those that do not work show why."""
    table = Table(title=f"{kind} plugins", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("name", "distribution", "version", ""):
        table.add_column(heading, overflow="fold")
    for listing in listings:
        about = Text(f"{listing.fault.status}: {listing.fault}", style="red") if listing.fault else Text(listing.summary)
        table.add_row(Text(listing.name), Text(listing.distribution), Text(listing.version), about)
    return table


def facts_table(facts: Mapping[str, str]) -> Table:
    """Return two columns: what it is, and its value."""
    table = Table.grid(padding=(0, 2))
    for title, value in facts.items():
        table.add_row(Text(title, style="bold"), Text(value))
    return table


def comparison_table(title: str, sides: Mapping[str, Measurements]) -> Table:
    """Return the costs, latency and quality of one generator on every side."""
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("")
    for role in sides:
        table.add_column(Text(role), justify="right")
    for row, cells in comparison(sides).items():
        table.add_row(Text(row), *map(Text, cells))
    return table


def figures_table(title: str, figures: Mapping[str, Mapping[str, Any]]) -> Table:
    """Return figures of quality, each a value with its unit and protocol, by their names."""
    table = Table(title=title, title_justify="left", title_style="bold")
    for heading in ("metric", "value", "protocol"):
        table.add_column(heading, justify="right" if heading == "value" else "left", overflow="fold")
    for name, figure in figures.items():
        table.add_row(Text(name), Text(f"{figure['value']:.4g} {figure['unit']}".rstrip()), Text(figure["protocol"]))
    return table


def timings_table(timings: Iterable[Mapping[str, Any]]) -> Table:
    """Return a row per timing: its generator, runtime, input, times in milliseconds, samples per second and bytes of memory."""
    table = Table(title="timings", title_justify="left", title_style="bold")
    for heading in ("generator", "device", "input", "median", "p90", "samples/s", "memory", ""):
        table.add_column(heading, justify="left" if heading in ("generator", "device", "input") else "right", overflow="fold")
    for timing in timings:
        memory = f"{with_prefix(timing['memory'])}B" if timing["memory"] is not None else ""
        faster = f"{timing['speed_up']:.2f}x as fast" if timing["speed_up"] is not None else ""
        times = (f"{timing[key]:.2f} ms" for key in ("median_ms", "p90_ms"))
        about = (timing["generator"], timing["device"], "x".join(map(str, timing["input"])))
        table.add_row(*map(Text, (*about, *times, f"{timing['samples_per_second']:.1f}", memory, faster)))
    return table


def ablation_table(rows: Mapping[str, Mapping[str, str]]) -> Table:
    """Return a row per variant with its figures by title."""
    table = Table(title="ablation", title_justify="left", title_style="bold")
    table.add_column("")
    titles = list(dict.fromkeys(title for cells in rows.values() for title in cells))
    for title in titles:
        table.add_column(Text(title), justify="right")
    for variant, cells in rows.items():
        table.add_row(Text(variant), *(Text(cells.get(title, "")) for title in titles))
    return table


def summary(arch: str, figures: Mapping[str, Mapping[str, Measurements]], places: Mapping[str, Path], out: Path) -> RenderableType:
    """Return what a run ends with: a table per generator, how the figures of quality came about, and where the files are.

    Args:
        arch: name of the architecture.
        figures: by generator and side.
        places: the folder of each side.
        out: the run's folder.
    """
    tables = [comparison_table(f"{arch} {generator}", sides) for generator, sides in figures.items()]
    told = by_protocol(side for sides in figures.values() for side in sides.values())
    protocols = {", ".join(titles): text for text, titles in told.items()}
    files = {f"{title} saved in": str(place) for title, place in places.items()}
    return Group(*tables, facts_table(protocols), facts_table(files | {"samples, losses, recipe in": str(out)}))


def pruning_bars(kept: Mapping[str, int], full: Mapping[str, int]) -> Table:
    """Return a bar per width with the share of its channels that was pruned, in the network's order (Figure III of the paper)."""
    table = Table(title="pruned share of each layer's channels", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("layer", "kept", "pruned", ""):
        table.add_column(heading, justify="right" if heading in ("kept", "pruned") else "left")
    for name, channels in full.items():
        share = 1 - kept[name] / channels
        table.add_row(name, f"{kept[name]}/{channels}", f"{share:.0%}", Text("█" * round(share * BAR), style="cyan"))
    return table

"""The table that puts sides beside each other: costs, latency and quality, each figure with its unit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gcc.registry import EVALUATORS
from gcc.units import with_prefix

Figures = Mapping[str, Any]
"""What `Measured.figures` returns: the costs, latency and metrics of one generator as plain values."""


def comparison(sides: Mapping[str, Figures]) -> dict[str, list[str]]:
    """Return the table's rows by title, each with a cell per side; the first side is what shares and speed-ups refer to."""
    first = next(iter(sides.values()))
    resolution = first["resolution"]
    rows = {
        f"MACs at {resolution}, exact": _shared(sides, "exact_macs"),
        f"MACs at {resolution}, paper's counter": _shared(sides, "paper_macs"),
        "parameters": _shared(sides, "parameters"),
        f"latency ({first['latency_on']})": [
            f"{figures['latency_ms']:.1f} ms" + _note(figures, first, lambda it: f"{first['latency_ms'] / it['latency_ms']:.1f}x")
            for figures in sides.values()
        ],
    }
    for metric in first["metrics"]:
        name = metric.partition(" ")[0]
        unit = EVALUATORS.load(name).unit if name in EVALUATORS.names() else ""
        rows[f"{metric}, held out"] = [f"{figures['metrics'][metric]:.4g} {unit}".rstrip() for figures in sides.values()]
    return rows


def _shared(sides: Mapping[str, Figures], key: str) -> list[str]:
    first = next(iter(sides.values()))
    return [with_prefix(figures[key]) + _note(figures, first, lambda it: f"{it[key] / first[key]:.1%}") for figures in sides.values()]


def _note(figures: Figures, first: Figures, text: Any) -> str:
    return "" if figures is first else f" ({text(figures)})"

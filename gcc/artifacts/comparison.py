"""The table that puts sides beside each other: costs, latency and quality, each figure with its unit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from gcc.registry import EVALUATORS
from gcc.utils.units import with_prefix

Measurements = Mapping[str, Any]
"""What `GeneratorReport.measurements` returns: the costs, latency and metrics of one generator as plain values."""
UNTOLD = "-"
"""Stands for a figure that a side has not."""


def comparison(sides: Mapping[str, Measurements]) -> dict[str, list[str]]:
    """Return the table's rows by title, each with a cell per side; the first side is what shares and speed-ups refer to."""
    first = next(iter(sides.values()))
    rows = {cost_title(first, key): _shared(sides, key) for key in ("exact_macs", "paper_macs", "parameters")}
    rows[latency_title(first)] = [
        f"{measurements['latency_ms']:.1f} ms" + _note(measurements, first, "latency_ms", lambda own, other: f"{own / other:.1f}x")
        for measurements in sides.values()
    ]
    if all("ready_ms" in measurements for measurements in sides.values()):
        rows[cost_title(first, "ready_ms")] = [
            f"{measurements['ready_ms']:.4g} ms" + _note(measurements, first, "ready_ms", lambda own, other: f"{own / other:.1f}x")
            for measurements in sides.values()
        ]
    if any(" (" in title for title in sides):
        rows["epoch"] = [str(measurements.get("epoch", UNTOLD)) for measurements in sides.values()]
    for metric in first["metrics"]:
        rows[quality_title(metric)] = [_quality(metric, measurements["metrics"].get(metric)) for measurements in sides.values()]
    return rows


def by_protocol(sides: Iterable[Measurements]) -> dict[str, list[str]]:
    """Return the titles of figures of quality by how they came about; a title has several where data differ."""
    told: dict[str, dict[str, None]] = {}
    for measurements in sides:
        for title, text in measurements.get("protocols", {}).items():
            told.setdefault(text, {})[title] = None
    return {text: list(titles) for text, titles in told.items()}


def cost_title(measurements: Measurements, key: str) -> str:
    """Return what the row of a cost is called: `exact_macs`, `paper_macs`, `parameters` or `ready_ms`."""
    if key == "ready_ms":
        return f"latency, ready for inference ({measurements['promised_on']}), budget {measurements['promised_ms']:.4g} ms"
    resolution = measurements["resolution"]
    return {
        "exact_macs": f"MACs at {resolution}, exact",
        "paper_macs": f"MACs at {resolution}, paper's counter",
        "parameters": "parameters",
    }[key]


def latency_title(measurements: Measurements) -> str:
    """Return what the row of the latency is called."""
    return f"latency ({measurements['latency_on']})"


def quality_title(metric: str) -> str:
    """Return what the row of a figure of quality is called."""
    return f"{metric}, held out"


def _shared(sides: Mapping[str, Measurements], key: str) -> list[str]:
    first = next(iter(sides.values()))
    return [
        with_prefix(measurements[key]) + _note(measurements, first, key, lambda own, other: f"{other / own:.1%}")
        for measurements in sides.values()
    ]


def _note(measurements: Measurements, first: Measurements, key: str, text: Any) -> str:
    """Return what a side's figure is to the first side's, in brackets; of a side without costs, as a damaged file may have it, nothing."""
    return f" ({text(first[key], measurements[key])})" if measurements is not first and first[key] and measurements[key] else ""


def _quality(metric: str, figure: float | None) -> str:
    if figure is None:
        return UNTOLD
    name = metric.partition(" ")[0]
    unit = EVALUATORS.load(name).unit if name in EVALUATORS.names() else ""
    return f"{figure:.4g} {unit}".rstrip()

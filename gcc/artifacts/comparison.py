"""The table that compares the teacher, the student and their variants: costs, latency and quality, each with its unit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gcc.registry import MetricKey, unit_of
from gcc.utils.units import with_prefix

Measurements = Mapping[str, Any]
"""What `GeneratorReport.measurements` returns: the costs, latency and metrics of one generator as plain values."""
ROLES = ("teacher", "student")
"""The titles of the columns of the result; other columns are variants of them, such as `student (best)`."""
AS_GIVEN = "teacher (as given)"
"""The title of the column of a pretrained teacher before the run trained it further. It is the first one, to which others are compared."""
MISSING = "-"
"""The cell of a value that a column does not have."""


@dataclass(frozen=True)
class Cell:
    """One value of the table.

    Attributes:
        value: the value with its unit.
        relative: its ratio to the first column's; empty for the first column, and for values that have none.
    """

    value: str
    relative: str = ""

    def __str__(self) -> str:
        return f"{self.value} ({self.relative})" if self.relative else self.value


@dataclass(frozen=True)
class Row:
    """One quantity of every column.

    Attributes:
        key: a key of `Measurements`, or a `MetricKey`.
        title: the name of the quantity for readers.
        cells: one per column.
    """

    key: str
    title: str
    cells: Sequence[Cell]


def comparison(columns: Mapping[str, Measurements]) -> dict[str, list[str]]:
    """Return the table as text: the rows by title, each with a cell per column; ratios refer to the first column."""
    return {row.title: [str(cell) for cell in row.cells] for row in comparison_rows(columns)}


def comparison_rows(columns: Mapping[str, Measurements]) -> list[Row]:
    """Return the rows of the table; ratios refer to the first column.

    Args:
        columns: the measurements by the columns' titles.
    """
    measured = list(columns.values())
    first = measured[0]
    resolution = first["resolution"]
    rows = [
        Row("exact_macs", f"MACs at {resolution}, exact", _costs(measured, "exact_macs")),
        Row("paper_macs", f"MACs at {resolution}, paper's counter", _costs(measured, "paper_macs")),
        Row("parameters", "parameters", _costs(measured, "parameters")),
        Row("latency_ms", f"latency ({first['latency_on']})", _latencies(measured, "latency_ms", ".1f")),
    ]
    if all("ready_ms" in measurements for measurements in measured):
        title = f"latency, ready for inference ({first['promised_on']}), budget {first['promised_ms']:.4g} ms"
        rows.append(Row("ready_ms", title, _latencies(measured, "ready_ms", ".4g")))
    if not columns.keys() <= set(ROLES) or any(measurements.get("epoch_note") for measurements in measured):
        rows.append(Row("epoch", "epoch", [_epoch(measurements) for measurements in measured]))
    for key in first["metrics"]:
        rows.append(Row(key, f"{key}, held out", [_metric(key, measurements["metrics"].get(key)) for measurements in measured]))
    return rows


def by_protocol(columns: Iterable[Measurements]) -> dict[str, list[MetricKey]]:
    """Return the metrics by the protocol that they were computed with; a metric has several protocols if the data differ."""
    keys: dict[str, dict[MetricKey, None]] = {}
    for measurements in columns:
        for key, protocol in measurements.get("protocols", {}).items():
            keys.setdefault(protocol, {})[key] = None
    return {protocol: list(keys[protocol]) for protocol in keys}


def _costs(measured: Sequence[Measurements], key: str) -> list[Cell]:
    return [Cell(with_prefix(values[key]), _relative(values, measured[0], key, _share)) for values in measured]


def _latencies(measured: Sequence[Measurements], key: str, digits: str) -> list[Cell]:
    return [Cell(f"{values[key]:{digits}} ms", _relative(values, measured[0], key, _speed_up)) for values in measured]


def _share(first: float, own: float) -> str:
    return f"{own / first:.1%}"


def _speed_up(first: float, own: float) -> str:
    return f"{first / own:.1f}x"


def _relative(values: Measurements, first: Measurements, key: str, ratio: Callable[[float, float], str]) -> str:
    """Return the ratio to the first column's value; empty for the first column, and if a damaged file has a value of 0."""
    return ratio(first[key], values[key]) if values is not first and first[key] and values[key] else ""


def _epoch(measurements: Measurements) -> Cell:
    epoch, note = measurements.get("epoch"), measurements.get("epoch_note")
    if note:
        return Cell(f"{epoch} ({note})")
    return Cell(MISSING if epoch is None else str(epoch or "not trained"))


def _metric(key: MetricKey, value: float | None) -> Cell:
    return Cell(MISSING if value is None else f"{value:.4g} {unit_of(key)}".rstrip())

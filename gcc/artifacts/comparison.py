"""The table that compares the teacher, the student and their variants: costs, latency and quality, each with its unit."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gcc.registry import EVALUATORS, Architecture, MetricKey, unit_of
from gcc.utils.units import with_prefix

Measurements = Mapping[str, Any]
"""What `GeneratorReport.measurements` returns: the costs, latency and metrics of one generator as plain values."""
ROLES = ("teacher", "student")
"""The titles of the columns of the result; other columns are variants of them, such as `student (best)`."""
AS_GIVEN = {role: f"{role} (as given)" for role in ROLES}
"""The titles of the columns of generators before the run trained them further, by role. Others are compared with the teacher as given."""
MAX_SPREAD = 1.5
"""The ratio of the 90th percentile to the median from which latencies cannot be compared."""
MISSING = "-"
"""The cell of a value that a column does not have."""


@dataclass(frozen=True)
class Cell:
    """One value of the table.

    Attributes:
        value: the value with its unit.
        relative: its ratio to the first column's, or a metric's difference; empty for the first column, and for values that have none.
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
    """Return the table as text: the rows by title, each with a cell per column; ratios and differences refer to the first column."""
    return {row.title: [str(cell) for cell in row.cells] for row in comparison_rows(columns)}


def comparison_rows(columns: Mapping[str, Measurements]) -> list[Row]:
    """Return the rows of the table; ratios and differences refer to the first column.

    Args:
        columns: the measurements by the columns' titles.
    """
    measured = list(columns.values())
    first = measured[0]
    resolution = first["resolution"]
    rows = [
        Row("exact_macs", f"MACs at {resolution}, exact", _costs(measured, "exact_macs")),
        # The paper's counter does not know the operators of a pruned graph.
        *(
            [Row("paper_macs", f"MACs at {resolution}, paper's counter", _costs(measured, "paper_macs"))]
            if any(measurements["paper_macs"] for measurements in measured)
            else []
        ),
        Row("parameters", "parameters", _costs(measured, "parameters")),
        Row("latency_ms", f"latency ({first['latency_on']})", _latencies(measured, "latency_ms", ".1f")),
    ]
    if all("ready_ms" in measurements for measurements in measured):
        title = f"latency, ready for inference ({first['promised_on']}){_budget(measured)}"
        rows.append(Row("ready_ms", title, _latencies(measured, "ready_ms", ".4g")))
    if not columns.keys() <= set(ROLES) or any(measurements.get("epoch_note") for measurements in measured):
        rows.append(Row("epoch", "epoch", [_epoch(measurements) for measurements in measured]))
    for key in first["metrics"]:
        values = [measurements["metrics"].get(key) for measurements in measured]
        rows.append(Row(key, f"{key}, held out {direction(key)}".rstrip(), _metrics(key, values)))
    return rows


def pruned_from(architecture: Architecture[Any]) -> str:
    """Return which generator the pruned shares of a student's layers refer to."""
    recipe = architecture.recipe
    if architecture.has_one_width:
        return "of the teacher"
    return f"of a generator of width {recipe.prune_width}; the teacher has width {recipe.ngf}"


def direction(key: MetricKey) -> str:
    """Return which values of a metric are better, such as "(higher is better)"; empty if its evaluator is not installed."""
    name = EVALUATORS.current_name(MetricKey.parse(key).evaluator)
    if name not in EVALUATORS.names():
        return ""
    return "(higher is better)" if EVALUATORS.load(name).larger_is_better else "(lower is better)"


def latency_note(columns: Mapping[str, Measurements], again: str) -> str:
    """Return a warning if students miss their latency budget, or if latencies scatter so much that their ratios mean little; else "".

    Args:
        columns: the measurements by the columns' titles.
        again: the command that measures them again.
    """
    late = [
        f"{title}: {values['ready_ms']:.4g} ms now, more than the budget of {values['promised_ms']:.4g} ms that its widths held"
        for title, values in columns.items()
        if "ready_ms" in values and not title.startswith("teacher") and values["ready_ms"] > values["promised_ms"]
    ]
    spread = spread_note((values["latency_ms"], values["latency_p90_ms"]) for values in columns.values())
    notes = [*late, *([spread] if spread else [])]
    return "; ".join([*notes, f"`{again}` measures again"]) if notes else ""


def spread_note(latencies: Iterable[tuple[float, float]]) -> str:
    """Return a warning if times scatter too much to be compared, given medians and 90th percentiles; an empty string if they do not."""
    spread = max((p90 / median for median, p90 in latencies if median), default=0.0)
    if spread <= MAX_SPREAD:
        return ""
    return f"a tenth of the passes took at least {spread:.1f} times the median, so the machine was busy and the ratios are unreliable"


def by_protocol(columns: Iterable[Measurements]) -> dict[str, list[MetricKey]]:
    """Return the metrics by the protocol that they were computed with; a metric has several protocols if the data differ."""
    keys: dict[str, dict[MetricKey, None]] = {}
    for measurements in columns:
        for key, protocol in measurements.get("protocols", {}).items():
            keys.setdefault(protocol, {})[key] = None
    return {protocol: list(keys[protocol]) for protocol in keys}


def _budget(measured: Sequence[Measurements]) -> str:
    """Return the latency budget of all columns; empty if they have different ones."""
    budgets = {values["promised_ms"] for values in measured}
    return f", budget {budgets.pop():.4g} ms" if len(budgets) == 1 else ""


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
    return Cell(MISSING if epoch is None else str(epoch or "as given"))


def _metrics(key: MetricKey, values: Sequence[float | None]) -> list[Cell]:
    first, *_ = values
    differences = [
        "" if value is None or first is None or not math.isfinite(value - first) else f"{value - first:+.3g}" for value in values
    ]
    differences[0] = ""
    texts = (MISSING if value is None else f"{value:.4g} {unit_of(key)}".rstrip() for value in values)
    return list(map(Cell, texts, differences))

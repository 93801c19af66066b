"""The plots of a report: small panels of few curves, from the record of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gcc.artifacts.comparison import ROLES, direction
from gcc.registry import unit_of
from gcc.report.run_record import Numbers, PhaseRecord, RunRecord, Series

TARGET = "target"
NOISY = (*ROLES, TARGET)
"""Labels of curves that fluctuate with every batch."""
FIRST_LOSSES = {"G": "L_G, of the generator", "D_real": "L_D on real images", "D_fake": "L_D on generated images"}
LAST_LOSSES = {
    "distill_G": "distillation from the generator",
    "distill_D": "distillation from the discriminator",
    "arch": "L_arch, of the retention factors",
}
"""Titles of the terms of Algorithm 1. A family's own losses are shown by their names, between the first and the last ones."""
MAX_VALUE = 1e30
"""Larger values are not plotted."""
SMOOTHING = 60
"""The moving mean of a noisy curve covers 1/60 of its points on either side."""
MARGIN = 0.06
"""Empty share above and below the curves."""
Range = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One value over time.

    Attributes:
        label: its name in the legend.
        paint: its colour in CSS, such as `var(--teacher)`.
        x: (N,), steps or epochs.
        y: (N,), finite.
        reach: points on either side that the moving mean covers; 0 for a curve that is not noisy.
        notes: a label per point; may be empty.
    """

    label: str
    paint: str
    x: Numbers
    y: Numbers
    reach: int
    notes: Sequence[str] = ()

    @property
    def smooth(self) -> Numbers:
        """The curve's moving mean (N,), over fewer points at its ends."""
        sums = np.concatenate([[0.0], np.cumsum(self.y)])
        indices = np.arange(len(self.y))
        first, last = np.maximum(indices - self.reach, 0), np.minimum(indices + self.reach + 1, len(self.y))
        means: Numbers = (sums[last] - sums[first]) / (last - first)
        return means


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes.

    Attributes:
        title: the quantity that is plotted.
        curves: at least one.
        across: the unit of the horizontal axis, "step" or "epoch".
        unit: of the values; shares are in "%".
        x_range: minimum and maximum of the horizontal axis.
        y_range: minimum and maximum of the vertical axis.
    """

    title: str
    curves: tuple[Curve, ...]
    across: str
    unit: str
    x_range: Range
    y_range: Range


def loss_panels(record: RunRecord, phase: str) -> list[Panel]:
    """Return a panel per loss of a phase, with the curves of both pairs."""
    losses = record.phases[phase].losses if phase in record.phases else {}
    terms = [term for by_term in losses.values() for term in by_term]
    own = {term: term for term in terms if term not in FIRST_LOSSES and term not in LAST_LOSSES}
    panels = []
    for term, title in {**FIRST_LOSSES, **own, **LAST_LOSSES}.items():
        panels += framed(title, _curves({role: by_term[term] for role, by_term in losses.items() if term in by_term}))
    return panels


def balance_panels(record: RunRecord) -> list[Panel]:
    """Return a panel per discriminator: |L_G - L_Dfake| of both pairs, and the target, its moving average (Eq. 7)."""
    phase = _last(record, lambda phase: bool(phase.imbalances or phase.targets))
    series = {role: phase.imbalances.get(role, {}) for role in ROLES} | {TARGET: phase.targets}
    panels = []
    for name in dict.fromkeys(name for by_name in series.values() for name in by_name):
        curves = _curves({label: by_name[name] for label, by_name in series.items() if name in by_name})
        panels += framed(f"|L_G - L_Dfake|, discriminator {name}", curves)
    return panels


def activity_panels(record: RunRecord) -> list[Panel]:
    """Return a panel per discriminator of the student: the percentage of active channels of each of its layers."""
    panels = []
    for discriminator, layers in _last(record, lambda phase: bool(phase.active)).active.items():
        curves = [
            _curve(layer, _ramp(index, len(layers)), replace(series, values=100 * series.values))
            for index, (layer, series) in enumerate(layers.items())
        ]
        panels += framed(f"active channels, discriminator {discriminator}", curves)
    return [replace(panel, unit="%", y_range=(-3.0, 103.0)) for panel in panels]


def quality_panels(record: RunRecord) -> list[Panel]:
    """Return a panel per generator and metric on the validation images, over epochs, with both roles."""
    generators = _last(record, lambda phase: bool(phase.metrics)).metrics
    panels = []
    for generator, metrics in generators.items():
        for key, by_role in metrics.items():
            title = " ".join(filter(None, (generator if len(generators) > 1 else "", key, direction(key))))
            curves = _curves({role: replace(series, steps=series.epochs) for role, series in by_role.items()})
            panels += framed(title, curves, "epoch", unit_of(key))
    return panels


def aligned(panels: Sequence[Sequence[Panel]]) -> list[list[Panel]]:
    """Return the panels of several runs; panels of the same title get the same ranges, so that they can be compared at a glance."""
    by_title: dict[str, list[Panel]] = {}
    for panel in (panel for of_run in panels for panel in of_run):
        by_title.setdefault(panel.title, []).append(panel)
    return [
        [
            replace(
                panel,
                x_range=_union(other.x_range for other in by_title[panel.title]),
                y_range=_union(other.y_range for other in by_title[panel.title]),
            )
            for panel in of_run
        ]
        for of_run in panels
    ]


def _last(record: RunRecord, has_values: Callable[[PhaseRecord], bool]) -> PhaseRecord:
    """Return the last phase with such values; an empty one if there is none."""
    return next(filter(has_values, reversed(list(record.phases.values()))), PhaseRecord(0))


def _curves(series: Mapping[str, Series]) -> list[Curve]:
    """Return the curves of the teacher, the student and the target, in this order and in the page's colours for them."""
    return [_curve(label, f"var(--{label})", series[label]) for label in NOISY if label in series]


def _curve(label: str, paint: str, series: Series) -> Curve:
    plotted = np.isfinite(series.values) & (np.abs(series.values) < MAX_VALUE) & (np.abs(series.steps) < MAX_VALUE)
    values = series.values[plotted]
    return Curve(label, paint, series.steps[plotted], values, len(values) // SMOOTHING if label in NOISY else 0)


def framed(title: str, curves: Iterable[Curve], across: str = "step", unit: str = "") -> list[Panel]:
    """Return a panel with the curves that have points; an empty list if none has."""
    drawn = tuple(curve for curve in curves if len(curve.y))
    if not drawn:
        return []
    x = np.concatenate([curve.x for curve in drawn])
    return [Panel(title, drawn, across, unit, (float(x.min()), float(x.max())), _y_range(drawn))]


def _y_range(curves: Iterable[Curve]) -> Range:
    """Return the range of the smooth curves and of all but the rarest points, which would flatten the rest."""
    values = np.concatenate([np.append(curve.smooth, np.quantile(curve.y, (0.01, 0.99))) for curve in curves])
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) or MARGIN * abs(high) or MARGIN
    return low - margin, high + margin


def _ramp(index: int, count: int) -> str:
    """Return the colour of a layer, from the first to the last."""
    return f"hsl({165 + 150 * index / max(1, count - 1):.0f} 48% var(--lift))"


def _union(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)

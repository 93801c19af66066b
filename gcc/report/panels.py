"""What a report plots: small panels of few curves, from the record of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gcc.registry import EVALUATORS
from gcc.report.run_record import Numbers, RunRecord, Series

SIDES = ("teacher", "student")
NOISY = (*SIDES, "target")
"""Labels of curves that go up and down with every batch."""
LOSSES = {
    "G": "L_G, of the generator",
    "D_real": "L_D on real images",
    "D_fake": "L_D on made images",
    "distill_G": "distillation from the generator",
    "distill_D": "distillation from the discriminator",
    "arch": "L_arch, of the retention factors",
}
"""What the terms of Algorithm 1 are called; a family's own losses have their names, and stand behind the first three."""
OWN_LOSSES = 3
GREATEST = 1e30
"""The largest value that is plotted: far beyond any that tells something."""
SMOOTHED = 60
"""Share of a loss's points, as its inverse, that its moving mean goes over on either side."""
MARGIN = 0.06
"""Empty share above and below the curves."""
Range = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One value over time.

    Attributes:
        label: what it is.
        paint: its colour as CSS has it, such as `var(--teacher)`.
        x: (N,), steps or epochs.
        y: (N,), finite.
        reach: points on either side that the curve's moving mean goes over; 0 for what is no noisy loss.
    """

    label: str
    paint: str
    x: Numbers
    y: Numbers
    reach: int

    @property
    def smooth(self) -> Numbers:
        """The curve's moving mean (N,), over fewer points at its ends."""
        sums = np.concatenate([[0.0], np.cumsum(self.y)])
        places = np.arange(len(self.y))
        first, last = np.maximum(places - self.reach, 0), np.minimum(places + self.reach + 1, len(self.y))
        means: Numbers = (sums[last] - sums[first]) / (last - first)
        return means


@dataclass(frozen=True)
class Panel:
    """Curves that share their axes.

    Attributes:
        title: what is plotted.
        curves: at least one.
        across: what the horizontal axis counts.
        unit: of the values; shares are in "%".
        x_range: least and greatest on the horizontal axis.
        y_range: likewise on the vertical axis.
    """

    title: str
    curves: tuple[Curve, ...]
    across: str
    unit: str
    x_range: Range
    y_range: Range


def loss_panels(record: RunRecord, phase: str) -> list[Panel]:
    """Return a panel per loss of a phase, with the curves of both pairs."""
    series = record.series.get(phase, {})
    parted = [name.partition("/") for name in series]
    terms = dict.fromkeys(term for side, _, term in parted if side in SIDES and "/" not in term)
    first, last = list(LOSSES)[:OWN_LOSSES], list(LOSSES)[OWN_LOSSES:]
    ranked = [*first, *(term for term in terms if term not in LOSSES), *last]
    return _panels((LOSSES.get(term, term), _by_side({side: f"{side}/{term}" for side in SIDES}, series)) for term in ranked)


def balance_panels(record: RunRecord) -> list[Panel]:
    """Return a panel per discriminator: |L_G - L_Dfake| of both pairs, and the target, its moving average (Eq. 7)."""
    places = {"teacher": "teacher/imbalance/", "student": "student/imbalance/", "target": "target/"}
    series = _last_with(record, *places.values())
    names = dict.fromkeys(name.removeprefix(place) for name in series for place in places.values() if name.startswith(place))
    return _panels(
        (f"|L_G - L_Dfake|, discriminator {name}", _by_side({label: place + name for label, place in places.items()}, series))
        for name in names
    )


def activity_panels(record: RunRecord) -> list[Panel]:
    """Return a panel per discriminator of the student: the share of active channels of each of its layers, in per cent."""
    layers: dict[str, dict[str, Series]] = {}
    for name, series in _last_with(record, "active/").items():
        discriminator, _, layer = name.removeprefix("active/").partition(".")
        if name.startswith("active/"):
            layers.setdefault(discriminator, {})[layer] = replace(series, values=100 * series.values)
    panels = _panels(
        (
            f"active channels, discriminator {discriminator}",
            [(layer, _ramp(place, len(found)), series) for place, (layer, series) in enumerate(found.items())],
        )
        for discriminator, found in layers.items()
    )
    return [replace(panel, unit="%", y_range=(-3.0, 103.0)) for panel in panels]


def quality_panels(record: RunRecord) -> list[Panel]:
    """Return a panel per generator and figure on the validation images, over epochs, with both sides."""
    sides: dict[tuple[str, str], dict[str, Series]] = {}
    for name, series in _last_with(record, "val/").items():
        place, _, rest = name.partition("/")
        side, _, rest = rest.partition("/")
        generator, _, figure = rest.partition("/")
        if place == "val" and side in SIDES:
            sides.setdefault((generator, figure), {})[side] = replace(series, steps=series.epochs)
    generators = {generator for generator, _ in sides}
    panels = []
    for (generator, figure), found in sides.items():
        unit, better = _told_of(figure)
        title = " ".join(part for part in (generator if len(generators) > 1 else "", figure, better) if part)
        drawn = _panels([(title, _by_side(dict(zip(SIDES, SIDES, strict=True)), found))])
        panels += [replace(panel, across="epoch", unit=unit) for panel in drawn]
    return panels


def aligned(panels: Sequence[Sequence[Panel]]) -> list[list[Panel]]:
    """Return the panels of several runs with common ranges where their titles agree, so that they can be compared at a glance."""
    alike: dict[str, list[Panel]] = {}
    for panel in (panel for found in panels for panel in found):
        alike.setdefault(panel.title, []).append(panel)
    return [
        [
            replace(
                panel,
                x_range=_union(other.x_range for other in alike[panel.title]),
                y_range=_union(other.y_range for other in alike[panel.title]),
            )
            for panel in found
        ]
        for found in panels
    ]


def _by_side(names: Mapping[str, str], series: Mapping[str, Series]) -> list[tuple[str, str, Series]]:
    """Return label, paint and series of what there is, for names by label; a label has the colour of its name."""
    return [(label, f"var(--{label})", series[name]) for label, name in names.items() if name in series]


def _panels(drawn: Iterable[tuple[str, Sequence[tuple[str, str, Series]]]]) -> list[Panel]:
    """Return a panel for each title with curves of a label, a paint and a series; those without a point are left out."""
    panels = []
    for title, found in drawn:
        curves = tuple(curve for label, paint, series in found if len((curve := _curve(label, paint, series)).y))
        if curves:
            steps = np.concatenate([curve.x for curve in curves])
            panels.append(Panel(title, curves, "step", "", (float(steps.min()), float(steps.max())), _y_range(curves)))
    return panels


def _curve(label: str, paint: str, series: Series) -> Curve:
    told = np.isfinite(series.values) & (np.abs(series.values) < GREATEST) & (np.abs(series.steps) < GREATEST)
    values = series.values[told]
    return Curve(label, paint, series.steps[told], values, len(values) // SMOOTHED if label in NOISY else 0)


def _y_range(curves: Iterable[Curve]) -> Range:
    """Return the range of the smooth curves and of all but the rarest points, which would press the rest flat."""
    seen = np.concatenate([np.append(curve.smooth, np.quantile(curve.y, (0.01, 0.99))) for curve in curves])
    low, high = float(seen.min()), float(seen.max())
    empty = MARGIN * (high - low) or MARGIN * abs(high) or MARGIN
    return low - empty, high + empty


def _last_with(record: RunRecord, *prefixes: str) -> Mapping[str, Series]:
    """Return the series of the last phase that has a name with one of these beginnings."""
    return next((found for found in reversed(list(record.series.values())) if any(name.startswith(prefixes) for name in found)), {})


def _told_of(figure: str) -> tuple[str, str]:
    """Return the unit of a figure of quality, and which way is better."""
    name = figure.partition(" ")[0]
    if name not in EVALUATORS.names():
        return "", ""
    evaluator = EVALUATORS.load(name)
    return evaluator.unit, "(higher is better)" if evaluator.larger_is_better else "(lower is better)"


def _ramp(place: int, count: int) -> str:
    """Return the colour of a layer, from the first to the last."""
    return f"hsl({165 + 150 * place / max(1, count - 1):.0f} 48% var(--lift))"


def _union(ranges: Iterable[Range]) -> Range:
    lows, highs = zip(*ranges, strict=True)
    return min(lows), max(highs)

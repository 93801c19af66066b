"""Lays out a panel as a drawing: the lines, marks and labels that `drawing.html.j2` writes as inline SVG.

The drawing has the colours and fonts of the page around it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gcc.report.panels import TARGET, Curve, Panel, Range
from gcc.report.run_record import Numbers
from gcc.utils.units import with_prefix

LEFT, RIGHT, TOP, BOTTOM = 38.0, 278.0, 8.0, 130.0
"""The axes, in a drawing of 288 x 158; a unit is about a pixel of a panel on a phone."""
POINTS = 300
"""The most points of a curve that are drawn: about one per pixel."""
MAX_MARKED = 24
"""The most points of a curve that has a mark at each point."""
MARGIN = 0.015
"""Empty share left and right of the curves, so that the marks of the first and the last point are whole."""
MIN_EXTENT = 1e-9
"""The smallest extent of an axis relative to its numbers."""
X_INTERVALS, Y_INTERVALS = 5, 4
"""The most intervals between the labels of an axis."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Distances between labels, times a power of ten."""
WHOLE_STEPS = (1.0, 2.0, 5.0, 10.0)


@dataclass(frozen=True)
class Tick:
    """A label of an axis and its place, in units of the drawing."""

    at: float
    label: str


@dataclass(frozen=True)
class Mark:
    """A point of a curve, in units of the drawing; `label` may be empty."""

    x: float
    y: float
    label: str


@dataclass(frozen=True)
class Line:
    """A curve, as it is drawn.

    Attributes:
        paint: its colour in CSS.
        path: the smooth curve, as the attribute `d` of a path.
        raw: the path of the values that the curve averages; empty if it is not noisy.
        dashed: whether the curve is dashed.
        marks: its points; none if there are too many.
    """

    paint: str
    path: str
    raw: str
    dashed: bool
    marks: Sequence[Mark]


@dataclass(frozen=True)
class Drawing:
    """A panel, as it is drawn.

    Attributes:
        title: what screen readers say.
        across: the unit of the horizontal axis.
        x_ticks: labels of the horizontal axis.
        y_ticks: labels of the vertical axis, each with a line.
        lines: the curves.
        left: the left end of the axes, and so on; in units of the drawing.
        right: see `left`.
        bottom: see `left`.
    """

    title: str
    across: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[Line]
    left: float = LEFT
    right: float = RIGHT
    bottom: float = BOTTOM


def draw(panel: Panel) -> Drawing:
    """Return the drawing of a panel; empty ranges are widened."""
    low, high = _widened(*panel.x_range)
    margin = MARGIN * (high - low)
    across, up = _Scale(low - margin, high + margin, LEFT, RIGHT), _Scale(*_widened(*panel.y_range), BOTTOM, TOP)
    return Drawing(
        panel.title,
        panel.across,
        across.ticks(X_INTERVALS, WHOLE_STEPS, smallest=1.0),
        up.ticks(Y_INTERVALS, STEPS),
        [_line(curve, across, up) for curve in panel.curves],
    )


@dataclass(frozen=True)
class _Scale:
    """Maps values from `low` to `high` to places from `start` to `end`; values outside go to the nearer end."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, values: Numbers) -> Numbers:
        shares = np.clip((values - self.low) / (self.high - self.low), 0.0, 1.0)
        return np.round(self.start + (self.end - self.start) * shares, 1)

    def ticks(self, most: int, steps: Sequence[float], smallest: float = 0.0) -> list[Tick]:
        """Return labels of round values with at most `most` intervals of at least `smallest` between them."""
        step = max(smallest, _round_step((self.high - self.low) / most, steps))
        values = np.array([number * step for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)])
        return [Tick(float(at), with_prefix(value)) for at, value in zip(self(values), values.tolist(), strict=True)]


def _round_step(at_least: float, steps: Sequence[float]) -> float:
    """Return the smallest round number from `at_least` up."""
    power = 10.0 ** math.floor(math.log10(at_least))
    return next(step * power for step in (*steps, 10 * steps[0], 10 * steps[1]) if step * power >= at_least)


def _line(curve: Curve, across: _Scale, up: _Scale) -> Line:
    indices = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).round().astype(int))
    x, y = across(curve.x[indices]), up(curve.smooth[indices])
    labels = curve.notes or [""] * len(x)
    marks = [Mark(*point) for point in zip(x.tolist(), y.tolist(), labels, strict=True)] if len(curve.x) <= MAX_MARKED else []
    raw_x, raw_y = _extremes(curve.x, curve.y) if curve.reach else (curve.x[:0], curve.y[:0])
    return Line(curve.paint, _path(x, y), _path(across(raw_x), up(raw_y)), curve.label == TARGET, marks)


def _extremes(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Return the points of the smallest and the largest value in each of as many stretches as can be distinguished, in their order."""
    if len(x) <= POINTS:
        return x, y
    stretches = np.array_split(np.arange(len(x)), POINTS // 2)
    indices = np.unique([index for part in stretches for index in (part[y[part].argmin()], part[y[part].argmax()])])
    return x[indices], y[indices]


def _path(x: Numbers, y: Numbers) -> str:
    points = [f"{across:g} {up:g}" for across, up in zip(x.tolist(), y.tolist(), strict=True)]
    return f"M {' L '.join(points)}" if points else ""


def _widened(low: float, high: float) -> Range:
    """Return a range that is wide enough for floating-point numbers of its size."""
    size = max(abs(low), abs(high))
    if high - low > MIN_EXTENT * max(size, MIN_EXTENT):
        return low, high
    margin = max(1.0, MIN_EXTENT * size)
    return low - margin, high + margin

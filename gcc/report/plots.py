"""Panels drawn by matplotlib, as SVG that takes its colours and fonts from the page around it.

The drawing contains only curves, axes and numbers; every text that comes from a run or a plugin is in the page.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gcc.report.panels import TARGET, Curve, Panel
from gcc.report.run_record import Numbers
from gcc.utils.units import with_prefix

SIZE = (4.0, 2.2)
"""In inches of 72 points; a point is about a pixel of a panel on a phone."""
POINTS = 300
"""The most points of a curve that are drawn: about one per pixel."""
MAX_MARKED = 24
"""The most points of a curve that has a mark at each point."""
MARGIN = 0.015
"""Empty share left and right of the curves."""
MIN_EXTENT = 1e-9
"""The smallest extent of an axis relative to its numbers."""
INK, LINE = "var(--muted)", "var(--line)"
STYLE: dict[Any, Any] = {
    "font.size": 10.5,
    "text.usetex": False,
    "text.parse_math": False,
    "axes.linewidth": 0.8,
    "axes.unicode_minus": True,
    "path.simplify": True,
    "svg.fonttype": "none",
    "svg.image_inline": True,
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


def svg(panel: Panel, key: str) -> Markup:
    """Return the drawing of a panel as an `svg` element.

    Args:
        panel: the panel; empty ranges are widened.
        key: a name for the drawing that is unique in its page.
    """
    paints = dict.fromkeys([INK, LINE, *(curve.paint for curve in panel.curves)])
    # matplotlib does not know CSS variables: each has a placeholder, which is replaced in the finished drawing.
    colours = {paint: f"#{number:06x}" for number, paint in enumerate(paints, start=1)}
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": key}):
        figure = Figure(figsize=SIZE, facecolor="none")
        FigureCanvasSVG(figure)
        axes = figure.add_axes((0.125, 0.175, 0.83, 0.785), facecolor="none")
        for curve in panel.curves:
            _draw_curve(axes, curve, colours[curve.paint])
        _draw_axes(axes, panel, colours[INK], colours[LINE])
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata=NO_METADATA, transparent=True)
    return _embedded(text.getvalue(), panel.title, colours)


def _draw_curve(axes: Axes, curve: Curve, colour: str) -> None:
    dashes = (0, (4, 2)) if curve.label == TARGET else "solid"
    marker = "o" if len(curve.x) <= MAX_MARKED else ""
    smooth = curve.smooth
    if curve.reach:
        axes.plot(*_extremes(curve.x, curve.y), color=colour, linewidth=0.6, alpha=0.3)
    indices = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).round().astype(int))
    axes.plot(curve.x[indices], smooth[indices], color=colour, linewidth=1.6, linestyle=dashes, marker=marker, markersize=3.5)


def _extremes(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Return the points of the smallest and the largest value in each of as many stretches as can be distinguished, in their order."""
    if len(x) <= POINTS:
        return x, y
    stretches = np.array_split(np.arange(len(x)), POINTS // 2)
    indices = np.unique([index for part in stretches for index in (part[y[part].argmin()], part[y[part].argmax()])])
    return x[indices], y[indices]


def _draw_axes(axes: Axes, panel: Panel, ink: str, line: str) -> None:
    low, high = _widened(*panel.x_range)
    # The edges would cut off the marks of the first and the last point.
    axes.set_xlim(low - MARGIN * (high - low), high + MARGIN * (high - low))
    axes.set_ylim(*_widened(*panel.y_range))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, position: with_prefix(value)))
    axes.tick_params(length=0, pad=5, labelcolor=ink)
    axes.grid(axis="y", color=line, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.text(1, -0.21, panel.across, transform=axes.transAxes, ha="right", va="baseline", color=ink, clip_on=False)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(line)


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a range that is wide enough for floating-point numbers of its size."""
    size = max(abs(low), abs(high))
    if high - low > MIN_EXTENT * max(size, MIN_EXTENT):
        return low, high
    margin = max(1.0, MIN_EXTENT * size)
    return low - margin, high + margin


def _embedded(text: str, title: str, colours: dict[str, str]) -> Markup:
    """Return the `svg` element of a drawing: scalable, named, in the page's colours, and only with the ids that it uses."""
    drawing = text[text.index("<svg") :]
    used = set(re.findall(r"#([\w.-]+)", drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda match: match[0] if match[1] in used else "", drawing)
    for paint, colour in colours.items():
        drawing = drawing.replace(colour, paint)
    head, body = drawing.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    start = Markup('<svg viewBox="{}" role="img" aria-label="{}">').format(box[1] if box else "", title)
    # matplotlib has drawn the body, and has drawn no text of a run: this is the only place that marks text as safe HTML.
    return start + Markup(_without_comments(body))


def _without_comments(drawing: str) -> str:
    return re.sub(r"<!--.*?-->\s*", "", drawing, flags=re.DOTALL).strip()

"""Panels drawn by matplotlib, as SVG that takes its colours and letters from the page around it.

All text that a run or a plugin has named stands in the page: what is drawn is curves, axes and numbers.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gcc.report.markup import Html, tag
from gcc.report.panels import Curve, Panel
from gcc.report.run_record import Numbers
from gcc.utils.units import with_prefix

SIZE = (4.0, 2.2)
"""Inches; 72 points each, which are about the pixels of a panel on a phone."""
POINTS = 300
"""Points of a curve that are drawn: about as many as a panel has pixels."""
FEW = 24
"""Points up to which each is marked."""
EDGE = 0.015
"""Empty share on either side."""
LEAST = 1e-9
"""Least extent of an axis as a share of its numbers."""
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


def svg(panel: Panel, key: str) -> Html:
    """Return a drawing of a panel.

    Args:
        panel: what is drawn; ranges of no extent are widened.
        key: names the drawing in its page, where no other has the same.
    """
    paints = dict.fromkeys([INK, LINE, *(curve.paint for curve in panel.curves)])
    # Colours that stand for the page's until the drawing is made.
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
    dashes = (0, (4, 2)) if curve.label == "target" else "solid"
    marker = "o" if len(curve.x) <= FEW else ""
    smooth = curve.smooth
    if curve.reach:
        axes.plot(*_extremes(curve.x, curve.y), color=colour, linewidth=0.6, alpha=0.3)
    kept = np.unique(np.linspace(0, len(curve.x) - 1, POINTS).round().astype(int))
    axes.plot(curve.x[kept], smooth[kept], color=colour, linewidth=1.6, linestyle=dashes, marker=marker, markersize=3.5)


def _extremes(x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """Return the least and the greatest point of each of as many stretches as can be told apart, in their order."""
    if len(x) <= POINTS:
        return x, y
    stretches = np.array_split(np.arange(len(x)), POINTS // 2)
    kept = np.unique([place for part in stretches for place in (part[y[part].argmin()], part[y[part].argmax()])])
    return x[kept], y[kept]


def _draw_axes(axes: Axes, panel: Panel, ink: str, line: str) -> None:
    low, high = _widened(*panel.x_range)
    # The first and the last point stand clear of the edges, which would cut their marks.
    axes.set_xlim(low - EDGE * (high - low), high + EDGE * (high - low))
    axes.set_ylim(*_widened(*panel.y_range))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, place: with_prefix(value)))
    axes.tick_params(length=0, pad=5, labelcolor=ink)
    axes.grid(axis="y", color=line, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.text(1, -0.21, panel.across, transform=axes.transAxes, ha="right", va="baseline", color=ink, clip_on=False)
    for name, spine in axes.spines.items():
        spine.set_visible(name == "bottom")
        spine.set_color(line)


def _widened(low: float, high: float) -> tuple[float, float]:
    """Return a range with an extent that numbers of its size can be told apart in."""
    size = max(abs(low), abs(high))
    return (low, high) if high - low > LEAST * max(size, LEAST) else (low - max(1.0, LEAST * size), high + max(1.0, LEAST * size))


def _embedded(text: str, title: str, colours: dict[str, str]) -> Html:
    """Return the `svg` element of a drawing for a page: of any size, named, in the page's colours, with no ids but those that it uses."""
    drawing = text[text.index("<svg") :]
    used = set(re.findall(r"#([\w.-]+)", drawing))
    drawing = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", drawing)
    for paint, colour in colours.items():
        drawing = drawing.replace(colour, paint)
    head, body = drawing.split(">", 1)
    box = re.search(r'viewBox="([^"]*)"', head)
    empty = tag("svg", viewBox=box[1] if box else "", role="img", aria_label=title)
    return Html(empty.removesuffix("</svg>") + _without_comments(body))


def _without_comments(drawing: str) -> str:
    return re.sub(r"<!--.*?-->\s*", "", drawing, flags=re.DOTALL).strip()

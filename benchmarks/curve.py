"""Plot quality over cost from the `sweep.json` of a sweep: the students as a curve, the teacher as a point.

gcc sweep --arch pix2pix --data datasets/facades --budget 10% --budget 25% --out runs/sweep
python benchmarks/curve.py runs/sweep/sweep.json "lpips" --out curve.png
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gcc.registry import EVALUATORS, MetricKey

HEIGHT, WIDTH = 3.0, 4.0
"""Of the panel of a metric, in inches."""


def plot(measured: Mapping[str, Mapping[str, Any]], metrics: list[str], file: Path) -> None:
    """Plot each metric over the MACs.

    Args:
        measured: measurements by column: the teacher, and a student for each budget.
        metrics: their keys, such as "psnr_y (Set5)".
        file: the PNG or SVG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, StrMethodFormatter

    figure = Figure(figsize=(WIDTH * len(metrics), HEIGHT), layout="constrained")
    students = sorted((one["exact_macs"] / 1e9, one["metrics"], column) for column, one in measured.items() if column != "teacher")
    costs, teacher = [macs for macs, _, _ in students], measured["teacher"]
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        values = [of_metric[metric] for _, of_metric, _ in students]
        axes.semilogx(costs, values, marker="o", label="students")
        axes.semilogx([teacher["exact_macs"] / 1e9], [teacher["metrics"][metric]], marker="D", linestyle="", label="teacher")
        for (macs, _, column), value in zip(students, values, strict=True):
            axes.annotate(column, (macs, value), xytext=(5, -9), textcoords="offset points", fontsize=8)
        axes.margins(0.12)
        direction = "higher" if EVALUATORS.load(MetricKey.parse(metric).evaluator).larger_is_better else "lower"
        axes.set(xlabel="GMACs per image", ylabel=f"{metric}, {direction} is better", xticks=[*costs, teacher["exact_macs"] / 1e9])
        axes.xaxis.set(minor_locator=NullLocator(), major_formatter=StrMethodFormatter("{x:.2g}"))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("sweep", type=Path, help="sweep.json")
    parser.add_argument("metrics", nargs="+", help='names of metrics, such as "psnr_y (Set5)"')
    parser.add_argument("--generator", default="G")
    parser.add_argument("--out", type=Path, required=True, help="PNG or SVG file")
    options = parser.parse_args()
    plot(json.loads(options.sweep.read_text())[options.generator], options.metrics, options.out)


if __name__ == "__main__":
    main()

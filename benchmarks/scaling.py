"""How the time and the memory of an iteration of Algorithm 1 grow with the batch, the resolution and the width.

    python benchmarks/scaling.py --threads 1 --plot docs/images/scaling.png

One quantity grows at a time, from a base that is smaller than the published one; every point runs in its own process. A series ends before
it exceeds the allowed memory or time. Slopes are fitted to the logarithms of the last three points: a slope of 1 means that the cost grows
in proportion. Peak memory is that of the whole process; curves and slopes exclude the memory of a process that has only loaded torch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from full_size import FAMILIES, compressor, in_process, joint_steps, machine, peak_gb

BASE = {"batch_size": 1, "size": 128, "ngf": 32, "ndf": 32}
SERIES: Mapping[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "batch": (("batch_size",), (1, 2, 4, 8, 16, 32, 64)),
    "resolution": (("size",), (64, 128, 256, 512)),
    "width": (("ngf", "ndf"), (8, 16, 32, 64, 128)),
}
"""Recipe fields that grow together, and their values."""
WARM_UP, MEASURED = 2, 3
MOST_GB, MOST_SECONDS = 8.0, 20.0
FITTED = 3
"""Points at the end of a series that slopes are fitted to. Constant costs weigh more in the earlier ones."""


def work(arch: str, threads: int, settings: str) -> None:
    """Print the median seconds of an iteration, the peak memory in GB, and the memory in GB before the run."""
    torch.set_num_threads(threads)
    before = peak_gb()
    with tempfile.TemporaryDirectory() as folder:
        recipe = json.loads(settings)
        run = compressor(arch, Path(folder), recipe={**recipe, "prune_width": recipe["ngf"]})
        steps = joint_steps(run)
        seconds = []
        for _ in range(WARM_UP + MEASURED):
            start = time.perf_counter()
            next(steps)
            if run.context.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    print(statistics.median(seconds[WARM_UP:]), peak_gb(run.context.device.type), before if run.context.device.type == "cpu" else 0)


def slope(values: Sequence[float], costs: Sequence[float]) -> float:
    return float(np.polyfit(np.log(values[-FITTED:]), np.log(costs[-FITTED:]), 1)[0])


def next_cost(costs: Sequence[float]) -> float:
    """Return the expected cost of the next point, which grows as much as the last one did."""
    return costs[-1] ** 2 / costs[-2] if len(costs) > 1 else costs[-1]


def plot(series: Mapping[str, Mapping[str, Any]], file: Path, title: str) -> None:
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    labels = {"seconds": "seconds of an iteration", "own_gb": "memory beyond torch's own, GB"}
    for axes, (cost, label) in zip(figure.subplots(1, 2), labels.items(), strict=True):
        for (name, points), marker in zip(series.items(), "osD", strict=False):
            times = [value / points["values"][0] for value in points["values"]]
            axes.loglog(times, points[cost], marker=marker, markersize=4, label=f"{name}: slope {points[f'{cost}_slope']:.2f}")
        axes.set(xlabel="times the smallest", ylabel=label)
        for axis, base, steps in ((axes.xaxis, 2, (1,)), (axes.yaxis, 10, (1, 2, 5))):
            axis.set(major_locator=LogLocator(base, steps), minor_locator=NullLocator(), major_formatter=StrMethodFormatter("{x:g}"))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    figure.suptitle(title, fontsize=9)
    figure.savefig(file, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, default="pix2pix")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--series", default=",".join(SERIES), help="names of series, joined by commas")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--plot", type=Path, help="PNG file for the curves")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.arch, options.threads, options.work)
        return
    torch.set_num_threads(options.threads)
    base = ", ".join(f"{name} {value}" for name, value in BASE.items())
    print(f"{options.arch}, one iteration from the base {base}; {machine()}")
    known: dict[str, list[float]] = {}
    series: dict[str, dict[str, Any]] = {}
    for name in options.series.split(","):
        fields, values = SERIES[name]
        points: list[tuple[float, ...]] = []
        for value in values:
            settings = json.dumps(BASE | dict.fromkeys(fields, value))
            if settings not in known:
                known[settings] = in_process("--arch", options.arch, "--threads", options.threads, "--work", settings)
            seconds, memory, before = known[settings]
            points.append((value, seconds, memory, memory - before))
            print(f"{name:10} {value:4d}  {seconds:7.3f} s  peak {memory:5.2f} GB", flush=True)
            reached, times, peaks, own = zip(*points, strict=True)
            if next_cost(times) > MOST_SECONDS or before + next_cost(own) > MOST_GB:
                break
        slopes = {"seconds_slope": slope(reached, times), "own_gb_slope": slope(reached, own)}
        series[name] = {"values": reached, "seconds": times, "gb": peaks, "own_gb": own, **slopes}
        print(f"{name:10} slopes: time {slopes['seconds_slope']:.2f}, memory {slopes['own_gb_slope']:.2f}")
    if options.json:
        options.json.write_text(json.dumps({"arch": options.arch, "machine": machine(), "base": BASE, "series": series}, indent=2) + "\n")
    if options.plot:
        plot(series, options.plot, f"{options.arch} from {base}; {machine()}")


if __name__ == "__main__":
    main()

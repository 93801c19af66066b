"""How long one iteration of Algorithm 1 takes at a family's published sizes, and how much memory, in several modes side by side.

    python benchmarks/step.py --arch pix2pix --threads 2

Each mode runs in its own process; they take turns, an iteration each, so that whatever else the machine does meets all of them. The first
iterations, which allocate memory, are not counted. Peak memory is that of the whole process, including torch and the data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from full_size import FAMILIES, compressor, joint_steps, machine, peak_gb

MODES: Mapping[str, Mapping[str, Any]] = {
    "reference": {"reference": True},
    "float32": {"amp": "off"},
    "bf16": {"amp": "bf16"},
    "compiled": {"amp": "off", "compile": True},
    "compiled-bf16": {"amp": "bf16", "compile": True},
}
WARM_UP = 2


def work(arch: str, mode: str, threads: int, closed: float) -> None:
    """For every line of standard input, run an iteration and print its seconds and the peak memory so far in GB."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        run = compressor(arch, Path(folder), recipe={"lr_alpha": 0.0}, **MODES[mode])
        steps = joint_steps(run)
        next(steps)
        for alpha in run.student.alphas:
            alpha.data[: int(closed * len(alpha))] = 0
        print("ready", flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            next(steps)
            if run.context.device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
            print(seconds, peak_gb(run.context.device.type), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, default="pix2pix")
    parser.add_argument("--modes", default="reference,float32,bf16", help=f"of {', '.join(MODES)}, joined by commas")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7, help="measured iterations of each mode")
    parser.add_argument("--closed", type=float, default=0.0, help="share of closed channels in the student's discriminators")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--work", choices=MODES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.arch, options.work, options.threads, options.closed)
        return
    modes = options.modes.split(",")
    shared = ["--arch", options.arch, "--threads", str(options.threads), "--closed", str(options.closed)]
    workers = {}
    for mode in modes:
        workers[mode] = subprocess.Popen(
            [sys.executable, __file__, *shared, "--work", mode], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        # They start one after the other, since starting in parallel would slow down all of them many times.
        workers[mode].stdout.readline()
    seconds: dict[str, list[float]] = {mode: [] for mode in modes}
    memory: dict[str, float] = {}
    for turn in range(WARM_UP + options.repeats):
        for mode, worker in workers.items():
            worker.stdin.write("\n")
            took, memory[mode] = map(float, worker.stdout.readline().split())
            if turn >= WARM_UP:
                seconds[mode].append(took)
    for worker in workers.values():
        worker.communicate()
    torch.set_num_threads(options.threads)
    print(f"{options.arch}, one iteration at the published sizes; {machine()}; {options.closed:.0%} of the channels closed")
    first = statistics.median(seconds[modes[0]])
    rows = {}
    for mode in modes:
        median = statistics.median(seconds[mode])
        rows[mode] = {"median_s": median, "least_s": min(seconds[mode]), "most_s": max(seconds[mode]), "peak_gb": memory[mode]}
        spread = f"{min(seconds[mode]):.2f} to {max(seconds[mode]):.2f}"
        print(f"{mode:13}  {median:6.2f} s ({spread})  {median / first:.2f} of {modes[0]}  peak {memory[mode]:.1f} GB")
    if options.json:
        options.json.write_text(
            json.dumps({"arch": options.arch, "machine": machine(), "closed": options.closed, "modes": rows}, indent=2) + "\n"
        )


if __name__ == "__main__":
    main()

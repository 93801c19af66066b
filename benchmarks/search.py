"""How long the search for widths takes, from generators' weights to widths within the budget, by family.

    python benchmarks/search.py

Each family has its published sizes, metric and budget, and all of its generators are searched. Every search runs in a new process, which
has loaded the library and built the networks, but has not searched before. Peak memory is that of the whole process, torch included.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from full_size import FAMILIES, in_process, machine, peak_gb

from gcc import Teacher
from gcc.pruning.budget import Budget
from gcc.pruning.cost import cost_of
from gcc.pruning.search import prune_family
from gcc.registry import METRICS


def work(arch: str, threads: int) -> None:
    """Print the seconds of a search and the peak memory in GB."""
    torch.set_num_threads(threads)
    architecture = Teacher.create(arch).architecture(FAMILIES[arch])
    recipe, metric = architecture.recipe, METRICS.load(architecture.recipe.metric)()
    networks = {name: architecture.build_generator(architecture.full_widths(recipe.prune_width)) for name in architecture.generators}
    for network in networks.values():
        architecture.initialise(network)
    with torch.device("meta"):
        full = architecture.build_generator(architecture.full_widths(recipe.ngf))
    start = time.perf_counter()
    teacher = cost_of(full, architecture.example_input())
    for name, budget in Budget.parse_each(recipe.budget, architecture.generators).items():
        prune_family(architecture, networks[name], recipe.prune_width, metric, budget.resolve(teacher, recipe.mac_counter))
    print(time.perf_counter() - start, peak_gb())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, action="append", help="all by default")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5, help="searches per family")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    parser.add_argument("--work", choices=FAMILIES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work, options.threads)
        return
    torch.set_num_threads(options.threads)
    print(f"the search at the published sizes; {machine()}; median of {options.repeats}")
    rows = {}
    for arch in options.arch or FAMILIES:
        measured = [in_process("--work", arch, "--threads", options.threads) for _ in range(options.repeats)]
        seconds, memory = zip(*measured, strict=True)
        rows[arch] = {"median_s": statistics.median(seconds), "least_s": min(seconds), "most_s": max(seconds), "peak_gb": max(memory)}
        print(f"{arch:9} {rows[arch]['median_s']:5.2f} s ({min(seconds):.2f} to {max(seconds):.2f})  peak {max(memory):.2f} GB")
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "families": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()

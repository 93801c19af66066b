"""How long the search for widths takes in a fresh process, from a generator's weights to widths within a budget.

OMP_NUM_THREADS=1 python benchmarks/search.py --arch pix2pix --metric slimming
"""

from __future__ import annotations

import argparse
import time

from gcc import Teacher
from gcc.pruning.budget import Budget
from gcc.pruning.cost import cost_of
from gcc.pruning.search import prune
from gcc.registry import METRICS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", default="pix2pix")
    parser.add_argument("--metric", default="slimming")
    parser.add_argument("--budget", default="16.52%")
    parser.add_argument("--counter", default="paper")
    arguments = parser.parse_args()
    architecture = Teacher.create(arguments.arch).architecture(demo=False, settings={})
    base = architecture.recipe.ngf
    network = architecture.build_generator(architecture.full_widths(base))
    architecture.initialise(network)
    start = time.perf_counter()
    teacher = cost_of(network, architecture.example_input())
    pruned = prune(
        architecture, network, base, METRICS.load(arguments.metric)(), Budget.parse(arguments.budget), arguments.counter, teacher
    )
    print(f"{time.perf_counter() - start:.2f} s: {pruned.cost} of {teacher}")


if __name__ == "__main__":
    main()

"""How long `gcc.prune` takes for a network of the zoo: seconds of processor time on one thread, from call to return.

    python benchmarks/prune.py timm-nasnetalarge
    python benchmarks/prune.py SwinIR-S --budget 25%

Weights are random, and channels are ranked by `l1`. The proof is part of the time.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from zoo.catalogue import ZOO

import gcc


def seconds(name: str, budget: str, repositories: Path | None) -> float:
    """Return the processor time of pruning one network."""
    network, inputs = ZOO[name].build(repositories), ZOO[name].inputs()
    start = time.process_time()
    gcc.prune(network, inputs, metric="l1", budget=budget)
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="+", choices=ZOO, metavar="name", help="network of the zoo's catalogue")
    parser.add_argument("--budget", default="50%", help="what it is pruned to")
    parser.add_argument("--repos", type=Path, help="folder of public repositories, as for `python -m benchmarks.zoo`")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.names:
        print(f"{name}: {seconds(name, options.budget, options.repos):.1f} s of processor time")


if __name__ == "__main__":
    main()

"""What the published recipes cost on their datasets: iterations, operations, images read, memory and hours.

    python benchmarks/hours.py --rate 5 --rate 60

One iteration of every stage runs at the published size on noise images, and torch counts its operations (see flops.py); the rest is
multiplied. Hours are operations divided by an assumed mean rate in TFLOP/s: they are not measured.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from flops import flop_counter
from full_size import FAMILIES, compressor

from gcc import Compressor, Teacher
from gcc.recipe import Recipe
from gcc.training.footprint import bytes_of_checkpoint
from gcc.training.memory_estimate import bytes_of_step

IMAGES = {"pix2pix": 2975, "cyclegan": 1334, "sagan": 202_599 - 20_260, "srgan": 118_287}
"""Samples per epoch: Cityscapes' train split, the larger domain of horse2zebra, CelebA without every tenth image, COCO's train2017."""


def stages(recipe: Recipe) -> dict[str, int]:
    """Return the epochs of every stage, by phase."""
    return {
        "search_pretrain": recipe.search_pretrain_epochs,
        "search": recipe.search_epochs,
        "pretrain": recipe.pretrain_epochs,
        "train": recipe.epochs,
    }


def operations(run: Compressor) -> dict[str, int]:
    """Return the operations of one iteration, by phase. The second one is counted: setup precedes the first."""
    counts: dict[str, int] = {}
    steps = run.steps()
    while True:
        with flop_counter() as counter:
            step = next(steps, None)
        if step is None:
            return counts
        if step.number == 2:
            counts[step.phase] = counter.get_total_flops()


def cost(arch: str) -> dict[str, Any]:
    """Return the cost of a family's published recipe."""
    recipe = Teacher.create(arch).architecture({}).recipe
    steps = IMAGES[arch] // recipe.batch_size
    with tempfile.TemporaryDirectory() as folder:
        run = compressor(arch, Path(folder), recipe={"epochs": 1, "pretrain_epochs": min(1, recipe.pretrain_epochs)})
        counted = operations(run)
        memory, checkpoint = bytes_of_step(run, run.widths), bytes_of_checkpoint(run.context)
    iterations = {phase: epochs * steps for phase, epochs in stages(recipe).items() if epochs}
    flops = {phase: counted[phase] * count for phase, count in iterations.items()}
    # The second step draws a second batch for the retention factors.
    samples = recipe.batch_size * (sum(iterations.values()) + iterations["train"])
    return {"iterations": iterations, "flops": flops, "samples": samples, "memory": memory, "checkpoint": checkpoint}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, action="append", help="all by default")
    parser.add_argument("--rate", type=float, action="append", help="assumed operations per second, in TFLOP/s; 5 and 60 by default")
    options = parser.parse_args()
    for arch in options.arch or FAMILIES:
        costs = cost(arch)
        print(arch)
        for phase, count in costs["iterations"].items():
            flops = costs["flops"][phase]
            print(f"  {phase:16} {count:10,} iterations, {flops / count / 1e9:.1f} GFLOP each, {flops / 1e15:.1f} PFLOP")
        total = sum(costs["flops"].values())
        print(f"  {costs['samples']:,} samples read, {total / 1e15:.1f} PFLOP in all")
        print(f"  tensors of an iteration {costs['memory'] / 1e9:.2f} GB, a checkpoint {costs['checkpoint'] / 1e6:.0f} MB")
        for rate in options.rate or (5.0, 60.0):
            print(f"  at {rate:g} TFLOP/s {total / rate / 1e12 / 3600:8.2f} hours")


if __name__ == "__main__":
    main()

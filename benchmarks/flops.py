"""What one iteration of Algorithm 1 runs, by move, counted by torch, beside the least that its mathematics needs.

    python benchmarks/flops.py --arch pix2pix

At the published sizes; a multiply-accumulate is two operations. docs/speed.md derives the least.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from full_size import FAMILIES, compressor, joint_steps
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gcc import Compressor
from gcc.player import Player, Student

MOVES = ("make", "judge", "update_discriminators", "update_generators", "learn", "update_retention")


def counted(steps: Any) -> tuple[dict[str, float], float]:
    """Return the GFLOP of one iteration by move, and in all."""
    counter, moves = FlopCounterMode(display=False), Counter[str]()
    originals: list[tuple[type, str, Callable[..., Any]]] = []

    def watch(kind: type, name: str) -> None:
        run = getattr(kind, name)

        def watched(self: Player, *arguments: Any) -> Any:
            before = counter.get_total_flops()
            result = run(self, *arguments)
            moves[f"{'student' if isinstance(self, Student) else 'teacher'}: {name}"] += counter.get_total_flops() - before
            return result

        originals.append((kind, name, run))
        setattr(kind, name, watched)

    for name in MOVES:
        # A student's own move, or the one that it shares with the teacher; never both.
        kind = Player if name in vars(Player) else Student
        watch(kind, name)
    with counter:
        next(steps)
    for kind, name, run in originals:
        setattr(kind, name, run)
    return {name: flops / 1e9 for name, flops in moves.items()}, counter.get_total_flops() / 1e9


def forward(run: Callable[[], object]) -> float:
    """Return the GFLOP of something run once without gradients."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops() / 1e9


def first_layers(networks: dict[str, nn.Module], run: Callable[[], object]) -> float:
    """Return the GFLOP of the first layer of every pass through these networks."""
    firsts = {
        id(network): next(module for module in network.modules() if list(module.parameters(recurse=False))) for network in networks.values()
    }
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        total, starts = [0.0], {}
        handles = [
            handle
            for module in firsts.values()
            for handle in (
                module.register_forward_pre_hook(lambda *_: starts.update(now=counter.get_total_flops())),
                module.register_forward_hook(lambda *_: total.append(counter.get_total_flops() - starts["now"])),
            )
        ]
        run()
        for handle in handles:
            handle.remove()
    return sum(total) / 1e9


def least(run: Compressor) -> float:
    """Return the GFLOP that one iteration needs (docs/speed.md), without distillation's and the task losses' own."""
    batch = next(run.batches(1, 1))
    teacher, student = run.teacher, run.student

    def generate(player: Player) -> Callable[[], object]:
        return lambda: run.architecture.generate(player.generators, batch)

    with torch.no_grad():
        made = student.make(batch)

    def judge() -> object:
        return [network(made.pairs[name].fake) for name, network in teacher.discriminators.items()]

    g_teacher, g_student, d = forward(generate(teacher)), forward(generate(student)), forward(judge)
    first_t, first_s = (first_layers(dict(player.generators), generate(player)) for player in (teacher, student))
    if run.arch == "cyclegan":
        # Two of its six passes read what a generator made, and their first layers hand a gradient on.
        first_t, first_s = first_t * 4 / 6, first_s * 4 / 6
    first_d = first_layers(dict(teacher.discriminators), judge)
    shared = student._shares_verdict
    teachers = (3 * g_teacher - first_t) + 2 * (3 * d - first_d) + 2 * d
    students = (3 * g_student - first_s) + 2 * d + (3 * d - first_d) + (2 * d - first_d if shared else 3 * d - first_d)
    opinion = 2 * d
    retention = g_student + 4 * d - 2 * first_d
    return teachers + students + opinion + retention


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, default="pix2pix")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = compressor(asked.arch, Path(folder))
        steps = joint_steps(run)
        next(steps)
        moves, total = counted(steps)
        needed = least(run)
    for name, flops in moves.items():
        print(f"{name:32} {flops:8.1f} GFLOP")
    print(
        f"{'all':32} {total:8.1f} GFLOP, and the least is {needed:.1f} and what distillation and task losses compute: {total / needed:.3f}"
    )
    if asked.json:
        asked.json.write_text(json.dumps({"arch": asked.arch, "moves": moves, "total": total, "least": needed}, indent=2) + "\n")


if __name__ == "__main__":
    main()

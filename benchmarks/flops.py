"""What one iteration of Algorithm 1 runs, by move, counted by torch.

    python benchmarks/flops.py --arch pix2pix

At the published sizes; a multiply-accumulate is two operations. docs/speed.md tells what each move needs at the least.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from full_size import FAMILIES, compressor, joint_steps
from torch.utils.flop_counter import FlopCounterMode

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
    for name, flops in moves.items():
        print(f"{name:32} {flops:8.1f} GFLOP")
    print(f"{'all':32} {total:8.1f} GFLOP")
    if asked.json:
        asked.json.write_text(json.dumps({"arch": asked.arch, "moves": moves, "total": total}, indent=2) + "\n")


if __name__ == "__main__":
    main()

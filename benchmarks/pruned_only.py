"""Train a student's widths by themselves, to see what cooperative training adds.

    gcc compress --arch pix2pix --data data/earth ... --out runs/earth
    python benchmarks/pruned_only.py runs/earth/student --data data/earth

builds a generator of the student's widths, trains it from scratch with Eq. 1 and the task losses against a full discriminator, without
teacher, distillation or selective activation, for the same epochs on the same data, and prints its held-out figures beside the student's.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

from gcc.artifact import only, read
from gcc.networks import Widths, build_discriminators, build_generators
from gcc.player import Player
from gcc.result import Result
from gcc.run import Run, Step
from gcc.teacher import Teacher


class PrunedOnly(Run):
    """A pruned generator against a full discriminator."""

    widths: dict[str, Widths]

    def steps(self) -> Iterator[Step]:
        generators = build_generators(self.architecture, self.widths, "student")
        pair = Player(self.architecture, generators, build_discriminators(self.architecture, "student"), self.precision)
        self.sides = {"student": pair}
        yield from self.play(pair, "train", self.recipe.epochs)

    def result(self) -> Result:
        return Result({"student": self.measured("student", self.widths)}, self.preview())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("student", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--grid", type=Path, default=Path("pruned_only.png"))
    arguments = parser.parse_args()
    artifact = only(read(arguments.student, role="student"))
    run = PrunedOnly(Teacher(artifact.arch), arguments.data, **artifact.recipe.to_dict())
    run.widths = {artifact.generator: artifact.widths}
    start = time.perf_counter()
    steps = sum(1 for _ in run.steps())
    seconds = time.perf_counter() - start
    result = run.result()
    result.grid.save(arguments.grid)
    print(f"{steps} steps, {seconds / steps:.3f} s each")
    for role, figures in artifact.figures.items():
        print(f"{role:12} {figures['metrics']}")
    print(f"{'pruned only':12} {result.figures()[artifact.generator]['student']['metrics']}")


if __name__ == "__main__":
    main()

"""What one iteration of Algorithm 1 runs, by move, beside the least that its mathematics needs.

    python benchmarks/flops.py

At the published sizes; a multiply-accumulate is two operations. What is run is counted by torch while an iteration runs. The least is
made up of forward passes alone, one of each network and of its first layer, as docs/speed.md derives it.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections import MacCounter
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from full_size import FAMILIES, compressor, joint_steps
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from gcc import Compressor
from gcc.models.modules import on_meta
from gcc.training.pair import GANPair
from gcc.training.student import StudentPair

MOVES = ("make", "judge", "update_discriminators", "update_generators", "learn", "update_retention")
READS = {"pix2pix": "A", "cyclegan": "A", "sagan": "z", "srgan": "lr"}
"""What of a batch each generator reads, or what has its shape."""
BMM = torch.ops.aten.bmm
Shapes = dict[str, torch.Size]


def convolution_backward(made: Any, image: Any, weight: Any, *rest: Any, **also: Any) -> int:
    """Return the operations of a convolution's gradients, each of which costs what the forward pass does; torch forgets the groups."""
    transposed, mask = rest[4], rest[7]
    return 2 * (math.prod(image) if transposed else math.prod(made)) * math.prod(weight[1:]) * sum(mask[:2])


def flop_counter() -> FlopCounterMode:
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward})


def counted(steps: Any) -> dict[str, float]:
    """Return the operations of one iteration by move; what belongs to none prepares the data."""
    counter, moves = flop_counter(), MacCounter[str]()
    originals: list[tuple[type, str, Callable[..., Any]]] = []

    def watch(kind: type, name: str) -> None:
        run = getattr(kind, name)

        def run_session(self: GANPair, *arguments: Any) -> Any:
            before = counter.get_total_flops()
            result = run(self, *arguments)
            moves[f"{'student' if isinstance(self, StudentPair) else 'teacher'}: {name}"] += counter.get_total_flops() - before
            return result

        originals.append((kind, name, run))
        setattr(kind, name, run_session)

    for name in MOVES:
        # A student's own move, or the one that it shares with the teacher; never both.
        watch(GANPair if name in vars(GANPair) else StudentPair, name)
    with counter:
        next(steps)
    for kind, name, run in originals:
        setattr(kind, name, run)
    if data := counter.get_total_flops() - moves.total():
        moves["data"] = data
    return moves


def forward(network: nn.Module, image: Tensor, taps: Sequence[str] = ()) -> tuple[MacCounter[str], Shapes]:
    """Return the operations of a pass and the shapes of its tapped features.

    By name: `all`; `attention`, products of two features; `first`, the first layer's, and `data`, its share that reads what no generator
    made, if its input is more than an image; `tapped` and `tapped attention`, what comes before the last tapped layer.
    """
    counter, found, shapes = flop_counter(), MacCounter[str](), Shapes()

    def attention() -> int:
        return counter.get_flop_counts()["Global"].get(BMM, 0)

    def after(path: str, module: nn.Module, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not found["first"]:
            found["first"] = counter.get_total_flops()
            found["data"] = found["first"] * max(0, image.shape[1] - 3) / image.shape[1]
        if path in taps:
            shapes[path] = output.shape
            found["tapped"], found["tapped attention"] = counter.get_total_flops(), attention()

    for path, module in network.named_modules():
        module.register_forward_hook(lambda module, inputs, output, path=path: after(path, module, output))
    with counter, torch.no_grad():
        network(image)
    found["all"], found["attention"] = counter.get_total_flops(), attention()
    return found, shapes


def gram(shape: torch.Size) -> int:
    """Return the operations of a Gram matrix of features (N, C, ...), N being 1."""
    return 2 * shape[1] * shape[1:].numel()


def least(run: Compressor) -> dict[str, float]:
    """Return the operations that an iteration needs, by move; letters are those of docs/speed.md."""
    architecture, recipe, taps = run.architecture, run.recipe, run.architecture.taps()
    full = architecture.full_widths(recipe.ngf)
    with torch.device("meta"):
        batch = architecture.example_batch()
    widths = {"teacher": dict.fromkeys(architecture.generators, full), "student": run.widths}
    makers = {
        side: {name: on_meta(partial(architecture.build_generator, chosen)) for name, chosen in found.items()}
        for side, found in widths.items()
    }
    pairs = architecture.pairs(batch, architecture.generate(makers["teacher"], batch))

    T, S, D, P, K, V = MacCounter[str](), MacCounter[str](), MacCounter[str](), 0, 0, 0
    for name in architecture.generators:
        own, wanted = forward(makers["teacher"][name], batch[READS[run.arch]], taps.generator)
        T += own
        own, given = forward(makers["student"][name], batch[READS[run.arch]], taps.generator)
        S += own
        P += sum(2 * wanted[path].numel() * given[path][1] for path in given)
        K += sum(gram(wanted[path]) for path in given)
    for name in architecture.discriminators:
        own, judged = forward(on_meta(architecture.build_discriminator), pairs[name].fake, taps.discriminator)
        D += own
        K += sum(map(gram, judged.values()))
    for network in run.context.auxiliary.values():
        V += forward(deepcopy(network).to("meta"), batch["hr"])[0]["all"]

    def moving(G: MacCounter[str]) -> int:
        """Return what moves generators against Eq. 1 and the task losses, once their images are made and judged."""
        own = D["all"] + D["attention"] - D["data"] + 2 * G["all"] - G["first"] + 2 * V
        # Cycle and identity.
        return own + (6 * G["all"] - G["first"] if run.arch == "cyclegan" else 0)

    shares = recipe.update_order == "GD" and not recipe.pool_size
    moves = {
        "teacher: make": T["all"],
        "teacher: update_discriminators": 6 * D["all"] - 2 * D["first"],
        "teacher: judge": D["all"] + D["tapped"],
        "teacher: update_generators": moving(T),
        "student: make": 2 * S["all"],
        "student: judge": D["all"],
        "student: learn": moving(S) + D["tapped"] + D["tapped attention"] - D["data"] + 3 * P + 3 * K,
        "student: update_discriminators": (5 if shares else 6) * D["all"] - 2 * D["first"],
        "student: update_retention": 4 * D["all"] + 2 * D["attention"] - 2 * D["first"],
        **({"data": V} if V else {}),
    }
    return {name: recipe.batch_size * flops for name, flops in moves.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, action="append", help="all by default")
    parser.add_argument("--json", type=Path, help="file for the figures")
    asked = parser.parse_args()
    figures = {}
    for arch in asked.arch or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            run = compressor(arch, Path(folder))
            steps = joint_steps(run)
            next(steps)
            needed, ran = least(run), counted(steps)
        print(f"{arch:32} {'runs':>8} {'least':>8}  GFLOP")
        rows = {name: (ran[name], needed[name]) for name in ran} | {"all": (sum(ran.values()), sum(needed.values()))}
        for name, (runs, needs) in rows.items():
            print(f"{name:32} {runs / 1e9:8.2f} {needs / 1e9:8.2f}  {runs / needs:.3f}")
        figures[arch] = {name: {"runs": runs, "least": needs} for name, (runs, needs) in rows.items()}
    if asked.json:
        asked.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()

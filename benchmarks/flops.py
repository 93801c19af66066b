"""How many operations one iteration of Algorithm 1 runs, by training step, and how many its mathematics needs at least.

    python benchmarks/flops.py

At the published sizes; a multiply-accumulate is two operations. Torch counts the operations of a real iteration. The least is computed from
one forward pass of each network and of its first layer, as docs/speed.md derives it.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
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
from gcc.training.step import Step
from gcc.training.student import StudentPair

STEPS = ("generate", "discriminate", "step_D", "step_G", "step_G_distilled", "step_alpha")
"""Methods of a pair whose operations are counted."""
READS = {"pix2pix": "A", "cyclegan": "A", "sagan": "z", "srgan": "lr"}
"""The entry of a batch that each generator reads, or one of the same shape."""
BMM = torch.ops.aten.bmm
Shapes = dict[str, torch.Size]


def convolution_backward(gradient: Any, image: Any, weight: Any, *rest: Any, **also: Any) -> int:
    """Return the operations of a convolution's gradients. Each costs as much as the forward pass; torch's own count ignores groups."""
    transposed, mask = rest[4], rest[7]
    return 2 * (math.prod(image) if transposed else math.prod(gradient)) * math.prod(weight[1:]) * sum(mask[:2])


def flop_counter() -> FlopCounterMode:
    """Return torch's counter, with the right count for grouped convolutions."""
    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: convolution_backward})


def counted(iterations: Iterator[Step]) -> dict[str, float]:
    """Return the operations of one iteration by step; operations outside of all steps prepare the data."""
    counter, operations = flop_counter(), Counter[str]()
    originals: list[tuple[type, str, Callable[..., Any]]] = []

    def watch(kind: type, name: str) -> None:
        method = getattr(kind, name)

        def watched(self: GANPair, *arguments: Any) -> Any:
            before = counter.get_total_flops()
            result = method(self, *arguments)
            operations[f"{'student' if isinstance(self, StudentPair) else 'teacher'}: {name}"] += counter.get_total_flops() - before
            return result

        originals.append((kind, name, method))
        setattr(kind, name, watched)

    for name in STEPS:
        # Only one of the two classes, since a student's method may call the one that it overrides.
        watch(GANPair if name in vars(GANPair) else StudentPair, name)
    with counter:
        next(iterations)
    for kind, name, method in originals:
        setattr(kind, name, method)
    if data := counter.get_total_flops() - operations.total():
        operations["data"] = data
    return operations


def forward(network: nn.Module, image: Tensor, taps: Sequence[str] = ()) -> tuple[Counter[str], Shapes]:
    """Return the operations of a pass and the shapes of its tapped features.

    By name: `all`; `attention`, the products of two features; `first`, the first layer, and `data`, its share that reads no generated
    channels, if its input is more than an image; `tapped` and `tapped attention`, everything up to the last tapped layer.
    """
    counter, operations, shapes = flop_counter(), Counter[str](), Shapes()

    def attention() -> int:
        return counter.get_flop_counts()["Global"].get(BMM, 0)

    def after(path: str, module: nn.Module, output: Tensor) -> None:
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not operations["first"]:
            operations["first"] = counter.get_total_flops()
            operations["data"] = operations["first"] * max(0, image.shape[1] - 3) / image.shape[1]
        if path in taps:
            shapes[path] = output.shape
            operations["tapped"], operations["tapped attention"] = counter.get_total_flops(), attention()

    for path, module in network.named_modules():
        module.register_forward_hook(lambda module, inputs, output, path=path: after(path, module, output))
    with counter, torch.no_grad():
        network(image)
    operations["all"], operations["attention"] = counter.get_total_flops(), attention()
    return operations, shapes


def gram(shape: torch.Size) -> int:
    """Return the operations of the Gram matrix of features (1, C, ...)."""
    return 2 * shape[1] * shape[1:].numel()


def least(run: Compressor) -> dict[str, float]:
    """Return the operations that an iteration needs, by step; letters are those of docs/speed.md."""
    architecture, recipe, taps = run.architecture, run.recipe, run.architecture.taps()
    full = architecture.full_widths(recipe.ngf)
    with torch.device("meta"):
        batch = architecture.example_batch()
    widths = {"teacher": dict.fromkeys(architecture.generators, full), "student": run.widths}
    generators = {
        role: {name: on_meta(partial(architecture.build_generator, chosen)) for name, chosen in by_name.items()}
        for role, by_name in widths.items()
    }
    pairs = architecture.pairs(batch, architecture.generate(generators["teacher"], batch))

    T, S, D, P, K, V = Counter[str](), Counter[str](), Counter[str](), 0, 0, 0
    for name in architecture.generators:
        operations, of_teacher = forward(generators["teacher"][name], batch[READS[run.arch]], taps.generator)
        T += operations
        operations, of_student = forward(generators["student"][name], batch[READS[run.arch]], taps.generator)
        S += operations
        P += sum(2 * of_teacher[path].numel() * of_student[path][1] for path in of_student)
        K += sum(gram(of_teacher[path]) for path in of_student)
    for name in architecture.discriminators:
        operations, features = forward(on_meta(architecture.build_discriminator), pairs[name].fake, taps.discriminator)
        D += operations
        K += sum(map(gram, features.values()))
    for network in run.context.auxiliary.values():
        V += forward(deepcopy(network).to("meta"), batch["hr"])[0]["all"]

    def step_G(G: Counter[str]) -> int:
        """Return the operations of Eq. 1 and the task losses, once the generators and discriminators have run forward."""
        own = D["all"] + D["attention"] - D["data"] + 2 * G["all"] - G["first"] + 2 * V
        # The cycle and identity losses.
        return own + (6 * G["all"] - G["first"] if run.arch == "cyclegan" else 0)

    shares = recipe.update_order == "GD" and not recipe.pool_size
    steps = {
        "teacher: generate": T["all"],
        "teacher: step_D": 6 * D["all"] - 2 * D["first"],
        "teacher: discriminate": D["all"] + D["tapped"],
        "teacher: step_G": step_G(T),
        "student: generate": 2 * S["all"],
        "student: discriminate": D["all"],
        "student: step_G_distilled": step_G(S) + D["tapped"] + D["tapped attention"] - D["data"] + 3 * P + 3 * K,
        "student: step_D": (5 if shares else 6) * D["all"] - 2 * D["first"],
        "student: step_alpha": 4 * D["all"] + 2 * D["attention"] - 2 * D["first"],
        **({"data": V} if V else {}),
    }
    return {name: recipe.batch_size * flops for name, flops in steps.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--arch", choices=FAMILIES, action="append", help="all by default")
    parser.add_argument("--json", type=Path, help="file for the measurements")
    options = parser.parse_args()
    measurements = {}
    for arch in options.arch or FAMILIES:
        with tempfile.TemporaryDirectory() as folder:
            run = compressor(arch, Path(folder))
            iterations = joint_steps(run)
            next(iterations)
            needed, ran = least(run), counted(iterations)
        print(f"{arch:32} {'runs':>8} {'least':>8}  GFLOP")
        rows = {name: (ran[name], needed[name]) for name in ran} | {"all": (sum(ran.values()), sum(needed.values()))}
        for name, (runs, needs) in rows.items():
            print(f"{name:32} {runs / 1e9:8.2f} {needs / 1e9:8.2f}  {runs / needs:.3f}")
        measurements[arch] = {name: {"runs": runs, "least": needs} for name, (runs, needs) in rows.items()}
    if options.json:
        options.json.write_text(json.dumps(measurements, indent=2) + "\n")


if __name__ == "__main__":
    main()

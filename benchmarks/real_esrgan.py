"""Make a published super-resolution network smaller, and compare it with its teacher and with published small networks.

    python benchmarks/real_esrgan.py RealESRGAN_x4plus_anime_6B.pth data --beside realesr-general-x4v3.pth --weights alexnet=alexnet.pth \\
        --out real_esrgan.jsonl

The data has folders `train` and `test`, such as `test/Set14`. For every budget, the student is measured after pruning alone and after
training: PSNR-Y, SSIM-Y and LPIPS against the photographs, PSNR against the teacher's output, and the share of its operations. Results are
appended to the file; a later call goes on with what it lacks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from shutil import rmtree
from typing import Any

import torch
from torch import nn

import gcc
from gcc.evaluation.pixels import decibels
from gcc.pruning.cost import cost_of
from gcc.training.context import RunContext
from gcc.training.prune_teacher import prune_teacher
from gcc.training.teacher import Teacher


def measured(network: nn.Module, teacher: nn.Module, context: RunContext) -> dict[str, float]:
    """Return the metrics of a network on the test images, and the PSNR of its outputs against the teacher's, in dB."""
    assert context.test is not None
    network, teacher = network.to(context.device), teacher.to(context.device)
    (metrics,) = context.test.evaluate({"G": network.eval()}).values()
    images = (context.data.test.sample(index, None)["lr"][None].to(context.device) for index in range(len(context.data.test)))
    with torch.inference_mode():
        errors = [((network(image).clamp(-1, 1) - teacher(image).clamp(-1, 1)) / 2).square().mean() for image in images]
    return {str(key): value for key, value in metrics.items()} | {"psnr to teacher": float(decibels(torch.stack(errors)).mean())}


def results(options: argparse.Namespace, done: set[str]) -> Iterator[dict[str, Any]]:
    """Yield the measurements of every network that `done` does not name."""
    settings = dict(setting.split("=", 1) for setting in options.set)
    common = {"evaluators": "psnr_y,ssim_y,lpips", "weights": dict(one.split("=", 1) for one in options.weights), "skip_bad": True}
    teacher = Teacher.of_file(options.teacher)
    context = RunContext.of(teacher, options.data, {**settings, **common})
    full = teacher.generators()["G"].eval()
    cost = cost_of(full, teacher.architecture(settings).example_input()).macs
    for file in (options.teacher, *options.beside):
        if file.stem not in done:
            other = Teacher.of_file(file)
            network = other.generators()["G"].eval()
            share = cost_of(network, teacher.architecture(settings).example_input()).macs / cost
            yield {"network": file.stem, "share": share, **measured(network, full, context)}
    for budget in options.budgets.split(","):
        pruned, trained = (options.out.with_name(f"{options.teacher.stem}-{budget}-{kind}") for kind in ("pruned", "trained"))
        if pruned.name not in done:
            rmtree(pruned, ignore_errors=True)
            start = time.perf_counter()
            costs = prune_teacher(teacher, pruned, {**settings, "budget": budget})
            seconds, share = time.perf_counter() - start, costs["student"]["exact_macs"] / costs["teacher"]["exact_macs"]
            yield {"network": pruned.name, "share": share, "seconds": round(seconds), **measured(gcc.load(pruned), full, context)}
        if trained.name not in done:
            start = time.perf_counter()
            result = gcc.Compressor(teacher, options.data, budget=budget, **settings, **common).run()
            result.save(trained)
            measurements = result.measurements()["G"]
            share = measurements["student"]["exact_macs"] / measurements["teacher"]["exact_macs"]
            seconds = time.perf_counter() - start
            yield {"network": trained.name, "share": share, "seconds": round(seconds), **measured(result.student, full, context)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--beside", type=Path, action="append", default=[], help="another network that is measured alike")
    parser.add_argument("--budgets", default="21.5%,6.7%,3.5%")
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="recipe fields")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    for line in results(options, {json.loads(line)["network"] for line in lines}):
        print(json.dumps(line), flush=True)
        with options.out.open("a") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()

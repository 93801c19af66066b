"""Compare ways to compress a trained generator of one's own: an SRGAN for factor 4, by PSNR-Y, SSIM-Y and LPIPS of Set5 and Set14.

The teacher is the generator of https://github.com/leftthomas/SRGAN (MIT; `epochs/netG_epoch_4_100.pth` in the history of that repository,
as a `.pth` or `.safetensors` file), as `networks_of_others.py` defines it. The data has folders `train`, `test/Set5` and
`test/Set14`; the table in docs/results.md is of T91 and the training images of BSD200.

    python benchmarks/own_srgan.py netG_epoch_4_100.pth data --weights alexnet=alexnet.safetensors --out own.jsonl

Each variant differs from the first by one factor. Results are appended to the file; a later call goes on with what it lacks.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from networks_of_others import SRGAN

import gcc
from gcc.utils.weights import read_state_dicts

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "fresh weights": {"start": "fresh"},
    "no pre-training": {"pretrain_epochs": 0},
    "pixels weigh 1": {"lambda_perceptual": 1.0},
    "training teacher": {"train_teacher": True, "lambda_distill_d": 1.0, "lambda_global": 1.0},
    "all channels on": {"discriminator": "full"},
    "no distillation": {"lambda_distill_g": 0.0},
    "plain fine-tuning": {"discriminator": "full", "lambda_distill_g": 0.0},
}


def teacher(weights: Path) -> SRGAN:
    network = SRGAN()
    (state_dict,) = read_state_dicts(weights).values()
    network.load_state_dict(state_dict)
    return network


def measured(result: gcc.Result) -> dict[str, dict[str, float]]:
    """Return the metrics of every role."""
    return {role: dict(measurements["metrics"]) for role, measurements in result.measurements()["G"].items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("teacher", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", default=",".join(VARIANTS), help="joined by commas; all by default")
    parser.add_argument("--budgets", default="50%")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--weights", action="append", default=[], metavar="NAME=FILE", help="alexnet=FILE measures LPIPS, too")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="recipe fields of all variants")
    options = parser.parse_args()
    weights = dict(one.split("=", 1) for one in options.weights)
    judged = {"evaluators": "psnr_y,ssim_y,lpips" if weights else "psnr_y,ssim_y", "weights": weights}
    common = dict(setting.split("=", 1) for setting in options.set)
    lines = options.out.read_text().splitlines() if options.out.exists() else []
    done = {json.dumps(json.loads(line)["run"]) for line in lines}
    for seed in range(options.seeds):
        for budget in options.budgets.split(","):
            for variant in options.variants.split(","):
                run = {"variant": variant, "budget": budget, "seed": seed, "steps": options.steps, **common}
                if json.dumps(run) in done:
                    continue
                settings = {"ndf": 8, "lr_g": 5e-4, "lambda_perceptual": 100.0, "ema_decay": 0.99} | common | VARIANTS[variant]
                settings |= {"budget": budget, "seed": seed, "steps": options.steps, "skip_bad": True}
                start = time.perf_counter()
                generator = teacher(options.teacher)
                data = {"data": options.data, "value_range": (0, 1), **judged}
                result = gcc.Compressor(generator=generator, task="super-resolution", **data, **settings).run()
                line = {"run": run, "seconds": round(time.perf_counter() - start), "metrics": measured(result)}
                print(json.dumps(line), flush=True)
                with options.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()

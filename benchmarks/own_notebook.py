"""Compress a GAN of somebody's notebook: its classes `Generator` and `Discriminator`, as they are, on a folder of images.

The table in docs/results.md is of `CARS/DCGAN.ipynb` in https://github.com/Yangyangii/GAN-Tutorial, on faces at 32 pixels.

    python benchmarks/own_notebook.py DCGAN.ipynb --data faces --out runs/notebook
"""

from __future__ import annotations

import argparse
import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

import gcc


def statements(notebook: Path) -> Iterator[ast.stmt]:
    """Yield a notebook's imports of torch, its modules, and its constants."""
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            lines = "".join(cell["source"]).splitlines()
            code = ast.parse("\n".join(line for line in lines if not line.startswith(("%", "!"))))
            yield from filter(is_needed, code.body)


def is_needed(statement: ast.stmt) -> bool:
    match statement:
        case ast.Import(names=names):
            return all(name.name.startswith("torch") and not name.name.startswith("torchvision") for name in names)
        case ast.ClassDef(bases=bases):
            return any(ast.unparse(base).endswith("Module") for base in bases)
        case ast.Assign(value=ast.Constant() | ast.Tuple()):
            return True
    return False


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("notebook", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--budget", default="25%")
    parser.add_argument("--steps", type=int, default=3000, help="of each of the two steps of training")
    options = parser.parse_args()
    names: dict[str, Any] = {"__name__": options.notebook.stem}
    exec(compile(ast.Module([*statements(options.notebook)], []), str(options.notebook), "exec"), names)

    generator, discriminator = names["Generator"](3), names["Discriminator"](3)
    discriminator.fc[1] = nn.Identity()  # The losses expect logits, not probabilities.
    result = gcc.Compressor(
        generator=generator,
        discriminator=discriminator,
        task="noise",
        example=torch.zeros(1, 100),
        data=options.data,
        budget=options.budget,
        size=options.size,
        steps=options.steps,
        batch_size=32,
        ema_decay=0.99,
        evaluators="fd_effnetlite0",
        result_epoch="last",
    ).run()
    result.save(options.out)
    print(result)


if __name__ == "__main__":
    main()

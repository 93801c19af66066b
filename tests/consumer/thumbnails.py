"""A program of somebody else's that uses gan-gcc: it is type-checked against the installed wheel, strictly, and it runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcc import Compressor, GccError, Step, Teacher, Trainer, load, optimize


def teacher(arch: str, folder: Path | None) -> Teacher:
    """Return a saved teacher, or a fresh one."""
    return Teacher.create(arch) if folder is None else Teacher.load(folder)


def progress(compressor: Compressor) -> Iterator[tuple[int, float]]:
    """Yield the iterations of the second step with the student's adversarial loss."""
    for step in compressor.steps():
        if step.phase == "train":
            yield step.number, float(step.losses["student"]["G"])


def compressed(arch: str, out: Path, **settings: Any) -> dict[str, float]:
    """Compress a fresh teacher, save the result, and return the student's metrics."""
    seen: list[int] = []

    def watch(step: Step) -> None:
        seen.append(step.number)

    result = Compressor(teacher(arch, None), device="cpu", **settings).run(watch)
    result.save(out)
    student: nn.Module = result.student
    assert seen and not student.training
    metrics: dict[str, float] = result.measurements()["G"]["student"]["metrics"]
    return metrics


def trained(arch: str, **settings: Any) -> nn.Module:
    """Return the generator of a teacher that was trained by itself."""
    result = Trainer(Teacher.create(arch), device="cpu", **settings).run()
    return result.pairs["teacher"].generators["G"].network


def thumbnail(place: str | Path, image: Tensor) -> Tensor:
    """Return what a saved generator, here or on the Hub, makes of an image (1, 3, H, W)."""
    generator: nn.Module = optimize(load(place), image)
    with torch.no_grad():
        made: Tensor = generator(image)
    return made


if __name__ == "__main__":
    try:
        print(compressed(sys.argv[1], Path(sys.argv[2]), epochs=1))
    except GccError as error:
        sys.exit(str(error))

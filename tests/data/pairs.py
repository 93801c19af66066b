"""Image pairs on disk for the tests of this folder."""

from types import SimpleNamespace

import numpy as np
from PIL import Image


def recipe(size=16):
    return SimpleNamespace(size=size)


def picture(seed, width=20, height=20):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def side_by_side(root, counts):
    """Write `counts` images by split, A red and B blue, and their number in green."""
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        for number in range(count):
            image = Image.new("RGB", (40, 20), (200, number, 0))
            image.paste((0, number, 200), (20, 0, 40, 20))
            image.save(root / split / f"{number}.png")
    return root


def number(sample):
    """Return the number of an image of `side_by_side`."""
    return round((sample["A"][1, 0, 0].item() + 1) * 127.5)

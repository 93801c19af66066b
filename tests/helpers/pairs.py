"""Image pairs on disk for the tests of this folder."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from gcc.data.cityscapes import LABELS


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


COLOURS = np.array([colour for _, colour in LABELS], dtype=np.uint8)


def ids(seed):
    return np.random.default_rng(seed).integers(0, len(LABELS), (16, 32), dtype=np.uint8)


def cityscapes(root, colours=True, label_ids=True):
    """Write a Cityscapes of three frames to train and one to validate, 32x16 pixels each."""
    for split, frames in {
        "train": ("aachen/aachen_000001", "aachen/aachen_000002", "bonn/bonn_000000"),
        "val": ("ulm/ulm_000000",),
    }.items():
        for seed, frame in enumerate(frames):
            labels, photo = root / "gtFine" / split / frame, root / "leftImg8bit" / split / frame
            labels.parent.mkdir(parents=True, exist_ok=True)
            photo.parent.mkdir(parents=True, exist_ok=True)
            picture(seed, 32, 16).save(f"{photo}_leftImg8bit.png")
            if label_ids:
                Image.fromarray(ids(seed)).save(f"{labels}_gtFine_labelIds.png")
            if colours:
                Image.fromarray(COLOURS[ids(seed)]).convert("RGBA").save(f"{labels}_gtFine_color.png")
    return root

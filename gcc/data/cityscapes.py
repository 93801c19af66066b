"""Cityscapes as it is downloaded (Cordts et al. 2016)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gcc.data.folders import found, require_folder
from gcc.data.images import NEAREST, entries, read_ids, read_rgb, subfolders
from gcc.data.paired import PairedImages, same_size
from gcc.errors import DataError
from gcc.recipe import Recipe

LABELS: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("unlabeled", (0, 0, 0)),
    ("ego vehicle", (0, 0, 0)),
    ("rectification border", (0, 0, 0)),
    ("out of roi", (0, 0, 0)),
    ("static", (0, 0, 0)),
    ("dynamic", (111, 74, 0)),
    ("ground", (81, 0, 81)),
    ("road", (128, 64, 128)),
    ("sidewalk", (244, 35, 232)),
    ("parking", (250, 170, 160)),
    ("rail track", (230, 150, 140)),
    ("building", (70, 70, 70)),
    ("wall", (102, 102, 156)),
    ("fence", (190, 153, 153)),
    ("guard rail", (180, 165, 180)),
    ("bridge", (150, 100, 100)),
    ("tunnel", (150, 120, 90)),
    ("pole", (153, 153, 153)),
    ("polegroup", (153, 153, 153)),
    ("traffic light", (250, 170, 30)),
    ("traffic sign", (220, 220, 0)),
    ("vegetation", (107, 142, 35)),
    ("terrain", (152, 251, 152)),
    ("sky", (70, 130, 180)),
    ("person", (220, 20, 60)),
    ("rider", (255, 0, 0)),
    ("car", (0, 0, 142)),
    ("truck", (0, 0, 70)),
    ("bus", (0, 60, 100)),
    ("caravan", (0, 0, 90)),
    ("trailer", (0, 0, 110)),
    ("train", (0, 80, 100)),
    ("motorcycle", (0, 0, 230)),
    ("bicycle", (119, 11, 32)),
)
"""Name and colour of every label, by its id."""

LAYOUT = "expected gtFine/ and leftImg8bit/, each with train/<city>/ and val/<city>/"
PHOTO = "_leftImg8bit.png"
COLOURS = "_gtFine_color.png"
IDS = "_gtFine_labelIds.png"


class Cityscapes(PairedImages[tuple[Path, Path]]):
    """Cityscapes as downloaded: `gtFine/<split>/<city>/` and `leftImg8bit/<split>/<city>/`.

    A is the label map in Cityscapes' colours and B the photograph, so that the direction AtoB paints a photograph from labels. (The
    `cityscapes` that comes prepared with pix2pix has them the other way round and is read as `aligned`, with the direction BtoA.) Label
    maps are resized by nearest neighbour. The labels of the test split are kept secret, so `val` serves as `test`.
    """

    resample_A = NEAREST

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        super().__init__(recipe)
        root = require_folder(root)
        if not self.recognises(root):
            raise DataError(f"{root} holds {found(root)}: {LAYOUT}")
        if split == "test":
            split, self.note = "val", "Cityscapes keeps the labels of its test images secret: val serves as test"
        self.files = _pairs(root, split)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return all((root / kind / "train").is_dir() for kind in ("gtFine", "leftImg8bit"))

    def read(self, file: tuple[Path, Path]) -> tuple[Image.Image, Image.Image]:
        labels, photo = file
        return same_size(_coloured(labels), read_rgb(photo), f"{labels} and {photo}")


def _pairs(root: Path, split: str) -> list[tuple[Path, Path]]:
    labels = _by_frame(root / "gtFine" / split, IDS) | _by_frame(root / "gtFine" / split, COLOURS)
    photos = _by_frame(root / "leftImg8bit" / split, PHOTO)
    for frame, path in labels.items():
        if frame not in photos:
            raise DataError(f"{path} has no photograph {root / 'leftImg8bit' / split / frame}{PHOTO}: add it, or remove the label map")
    for frame, path in photos.items():
        if frame not in labels:
            wanted = f"{root / 'gtFine' / split / frame}{COLOURS}"
            raise DataError(f"{path} has no label map {wanted}, nor one of label ids: add it, or remove the photograph")
    if not photos:
        raise DataError(f"{root} has no {split} images: {LAYOUT}")
    return [(labels[frame], photos[frame]) for frame in photos]


def _by_frame(folder: Path, ending: str) -> dict[str, Path]:
    """Return the files that end so by `<city>/<frame>`."""
    files = [path for city in subfolders(folder) for path in entries(city) if path.name.endswith(ending)]
    return {f"{path.parent.name}/{path.name.removesuffix(ending)}": path for path in files}


def _coloured(path: Path) -> Image.Image:
    if not path.name.endswith(IDS):
        return read_rgb(path)
    ids = read_ids(path)
    if ids.max() >= len(LABELS):
        raise DataError(f"{path} holds the label id {ids.max()}: Cityscapes' ids go from 0 to {len(LABELS) - 1}")
    return Image.fromarray(np.array([colour for _, colour in LABELS], dtype=np.uint8)[ids])

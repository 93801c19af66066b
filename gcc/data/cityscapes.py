"""Cityscapes in the layout of its download (Cordts et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gcc.data.bands import Picture
from gcc.data.folders import describe_contents, require_folder
from gcc.data.image_files import fault
from gcc.data.images import NEAREST, entries, read_ids, read_rgb, subfolders
from gcc.data.paired import PairedImages, same_size
from gcc.errors import DataError, listed
from gcc.recipe import RGB, Recipe, data_range

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
"""Name and colour of every label, indexed by id."""
TRAIN_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Ids of the 19 evaluated classes, indexed by train id."""
IGNORED = 255
"""Train id of all other labels."""

LAYOUT = "expected gtFine/ and leftImg8bit/, each with train/<city>/ and val/<city>/"
PHOTO = "_leftImg8bit.png"
COLOURS = "_gtFine_color.png"
IDS = "_gtFine_labelIds.png"
PREPARED = "_gtFine_labelTrainIds.png"
"""Suffix of the train ids that cityscapesScripts writes."""


class Frame(NamedTuple):
    """A label map, its photograph, and a map of label ids or train ids, or None."""

    labels: Path
    photo: Path
    ids: Path | None


class Cityscapes(PairedImages[Frame]):
    """Cityscapes as downloaded: `gtFine/<split>/<city>/` and `leftImg8bit/<split>/<city>/`.

    A is the label map in Cityscapes' colours and B the photograph, so the direction AtoB translates labels to photographs. (pix2pix's
    prepared `cityscapes` has them the other way round and is read as `aligned`, with the direction BtoA.) Label maps are resized by nearest
    neighbour. The labels of the test split are secret, so `val` serves as `test`.

    If every frame has its label ids, samples that are not augmented also have `labels`: train ids, (1024, 2048) int64, with 255 for pixels
    that do not count.
    """

    resample_A = NEAREST

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        super().__init__(recipe)
        if self.channels != (RGB, RGB):
            raise DataError(f"Cityscapes has RGB images: expected input_nc = {RGB} and output_nc = {RGB}")
        if data_range(recipe):
            raise DataError("Cityscapes has 8 bits: leave `range` out")
        self.root = root = require_folder(root)
        if not self.matches(root):
            raise DataError(f"{root} holds {describe_contents(root)}: {LAYOUT}")
        if split == "test":
            split, self.note = "val", "Cityscapes keeps the labels of its test images secret: val serves as test"
        self.files = _frames(root, split)
        self.numbered = all(frame.ids for frame in self.files)

    @classmethod
    def matches(cls, root: Path) -> bool:
        return any(all((root / kind / split).is_dir() for kind in ("gtFine", "leftImg8bit")) for split in ("train", "val"))

    def read(self, file: Frame) -> tuple[Picture, Picture]:
        return same_size(_coloured(file.labels), read_rgb(file.photo), f"{file.labels} and {file.photo}")

    def images_of(self, file: Frame) -> Iterator[tuple[Path, int]]:
        yield file.photo, RGB

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        sample = super().sample(index, random)
        ids = self.files[index].ids
        if random is None and self.numbered and ids:
            sample["labels"] = torch.from_numpy(train_ids(ids))
        return sample

    def preview(self, index: int) -> dict[str, Tensor]:
        # A grid does not show the labels, which have the frames' full size.
        return super().sample(index, None)

    def _fault(self, file: Frame) -> str:
        return super()._fault(file) or (fault(train_ids, file.ids) if file.ids else "")


def train_ids(path: Path) -> np.ndarray:
    """Read a map of label ids or train ids as train ids, (H, W) int64.

    Raises:
        DataError: the file cannot be read, or contains an unknown id.
    """
    if not path.name.endswith(PREPARED):
        return np.take(_TRAIN_IDS, _ids(path))
    ids = read_ids(path).astype(np.int64)
    unknown = ids[(ids >= len(TRAIN_IDS)) & (ids != IGNORED)]
    if unknown.size:
        raise DataError(f"{path} contains the train id {unknown[0]}: expected 0 to {len(TRAIN_IDS) - 1}, or {IGNORED} for pixels to ignore")
    return ids


def _frames(root: Path, split: str) -> list[Frame]:
    folder = root / "gtFine" / split
    by_id = _by_frame(folder, IDS)
    labels = by_id | _by_frame(folder, COLOURS)
    ids = _by_frame(folder, PREPARED) | by_id
    photos = _by_frame(root / "leftImg8bit" / split, PHOTO)
    lacking = [f"{labels[frame]} has no photograph {root / 'leftImg8bit' / split / frame}{PHOTO}" for frame in labels.keys() - photos]
    lacking += [f"{photos[frame]} has no label map {folder / frame}{COLOURS}, nor one of label ids" for frame in photos.keys() - labels]
    if lacking:
        raise DataError(f"{listed(sorted(lacking))}: add what is missing, or remove the image")
    if not photos:
        raise DataError(f"{root} has no {split} images: {LAYOUT}")
    return [Frame(labels[frame], photos[frame], ids.get(frame)) for frame in photos]


def _by_frame(folder: Path, suffix: str) -> dict[str, Path]:
    """Return the files whose names end in `suffix` by `<city>/<frame>`."""
    files = [path for city in subfolders(folder) for path in entries(city) if path.name.endswith(suffix)]
    return {f"{path.parent.name}/{path.name.removesuffix(suffix)}": path for path in files}


def _coloured(path: Path) -> Image.Image:
    return Image.fromarray(_COLOURS[_ids(path)]) if path.name.endswith(IDS) else read_rgb(path)


def _ids(path: Path) -> np.ndarray:
    ids = read_ids(path)
    if ids.max() >= len(LABELS):
        raise DataError(f"{path} contains the label id {ids.max()}: Cityscapes' ids go from 0 to {len(LABELS) - 1}")
    return ids


_COLOURS = np.array([colour for _, colour in LABELS], dtype=np.uint8)
_TRAIN_IDS = np.full(len(LABELS), IGNORED, dtype=np.int64)
_TRAIN_IDS[list(TRAIN_IDS)] = np.arange(len(TRAIN_IDS))

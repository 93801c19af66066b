"""Two folders of unpaired images, in the layout of CycleGAN."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Self

import numpy as np
from torch import Tensor

from gcc.data.bands import Picture
from gcc.data.folders import describe_contents, require_folder
from gcc.data.hold_out import SPLITS, every_tenth, select_split
from gcc.data.image_files import ImagesOnDisk
from gcc.data.images import images_below, read_image, to_tensor
from gcc.data.paired import Augmentation
from gcc.errors import DataError
from gcc.recipe import Recipe, data_range, image_channels, image_size

LAYOUT = "expected trainA/ and trainB/ with images, and perhaps valA/ and valB/, testA/ and testB/"

Domains = tuple[list[Path], list[Path]]
"""The images of A, and those of B."""


class Unaligned(ImagesOnDisk[Path]):
    """Images without partners: `trainA/` and `trainB/`, and optionally `valA/`, `valB/`, `testA/` and `testB/`.

    Subfolders are read too. `A` and `B` are each (C, H, W) in [-1, 1] of the recipe's size and channels. An epoch goes through the larger
    domain once. In training, B is drawn at random, and each image gets its own draw of pix2pix's augmentation. If val or test is missing,
    the other serves as both. If both are missing, every tenth training image of each domain is held out for them.

    Attributes:
        files: the images of A, then those of B.
        first_b: index of the first image of B.
    """

    samples = "unpaired"
    resizes = True

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        self.size, self.channels = image_size(recipe), image_channels(recipe)
        self.value_range = data_range(recipe)
        self.root = root = require_folder(root)
        if not self.matches(root):
            raise DataError(f"{root} holds {describe_contents(root)}: {LAYOUT}")
        splits = {name: sides for name in SPLITS if any(sides := _sides(root, name))}
        (a, b), self.note = select_split(root, splits, split, _divided, _counts)
        self.files, self.first_b = a + b, len(a)

    @classmethod
    def matches(cls, root: Path) -> bool:
        return any(all((root / f"{split}{side}").is_dir() for side in "AB") for split in SPLITS)

    def __len__(self) -> int:
        return max(self.first_b, len(self.files) - self.first_b)

    def num_unique(self, key: str) -> int:
        return self.first_b if key == "A" else len(self.files) - self.first_b

    def read(self, file: Path) -> Picture:
        return read_image(file, self._channels_of(file), self.value_range)

    def images_of(self, file: Path) -> Iterator[tuple[Path, int]]:
        yield file, self._channels_of(file)

    def _channels_of(self, file: Path) -> int:
        folder = file.relative_to(self.root).parts[0]
        return self.channels["AB".index(folder[-1])]

    def sample(self, index: int, random: np.random.Generator | None) -> dict[str, Tensor]:
        a, b = self.files[: self.first_b], self.files[self.first_b :]
        partner = index if random is None else int(random.integers(len(b)))
        files = {"A": a[index % len(a)], "B": b[partner % len(b)]}
        return {side: to_tensor(Augmentation.draw(self.size, random)(self.images(file))) for side, file in files.items()}

    def drop(self, bad: Collection[int]) -> Self:
        rest = super().drop(bad)
        rest.first_b = sum(number not in bad for number in range(self.first_b))
        if not 0 < rest.first_b < len(rest.files):
            side, count = ("B", len(self.files) - self.first_b) if rest.first_b else ("A", self.first_b)
            raise DataError(f"none of the {count} images of {side} can be used")
        return rest


def _divided(root: Path, train: Domains) -> tuple[Domains, Domains]:
    (rest_a, held_a), (rest_b, held_b) = (every_tenth(root / f"train{side}", files) for side, files in zip("AB", train, strict=True))
    return (rest_a, rest_b), (held_a, held_b)


def _sides(root: Path, split: str) -> Domains:
    """Return the images of a split on disk; two empty lists if there are none."""
    a, b = (images_below(root / f"{split}{side}") for side in "AB")
    if bool(a) != bool(b):
        full, empty = (root / f"{split}{side}" for side in ("AB" if a else "BA"))
        raise DataError(f"{full} has images ({len(a or b)}), but {empty} has none: add images to it, or remove those of the other")
    return a, b


def _counts(sides: Domains) -> str:
    return " and ".join(str(len(files)) for files in sides)

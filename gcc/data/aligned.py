"""Image pairs in the folder layouts of pix2pix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from PIL import Image

from gcc.data.folders import found, require_folder
from gcc.data.images import image_files, read_rgb
from gcc.data.paired import PairedImages, same_size
from gcc.errors import DataError
from gcc.recipe import Recipe

T = TypeVar("T")

LAYOUTS = "expected train/ with images that hold A (left) and B (right) side by side, or A/train/ and B/train/ with images of equal names"
EVERY = 10
"""Without a val and a test folder, one training image in so many is held out."""

Files = tuple[Path, Path | None]
"""Image A and image B, or the image that holds both."""


class Aligned(PairedImages):
    """Image pairs: `train/*.jpg` with A and B side by side, or `A/train/` and `B/train/`; `val` and `test` likewise.

    Where both layouts are there, the side-by-side images count, for pix2pix makes them of the others. Of `val` and `test`, one stands in
    for a missing other; without either, every tenth training image is held out for both.
    """

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        super().__init__(recipe)
        root = require_folder(root)
        if not self.recognises(root):
            raise DataError(f"{root} holds {found(root)}: {LAYOUTS}")
        self._files, self.note = _split(root, split)

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return bool(image_files(root / "train")) or all((root / side / "train").is_dir() for side in "AB")

    def __len__(self) -> int:
        return len(self._files)

    def read(self, index: int) -> tuple[Image.Image, Image.Image]:
        a, b = self._files[index]
        return _halves(a) if b is None else same_size(read_rgb(a), read_rgb(b), f"{a} and {b}")


def _split(root: Path, split: str) -> tuple[list[Files], str]:
    """Return the files of `split` and what to say about it."""
    there = {name: files for name in ("train", "val", "test") if (files := _files(root, name))}
    if "train" not in there:
        raise DataError(f"the train folders of {root} hold no images")
    if "val" not in there and "test" not in there:
        rest, held = _every_tenth(root, there["train"])
        chosen, role = (rest, "trains") if split == "train" else (held, f"serves as {split}")
        share = "all but every tenth training image" if split == "train" else "every tenth training image"
        return chosen, f"{root} has neither val nor test images: {share} {role} ({len(chosen)} of {len(there['train'])})"
    if split in there:
        return there[split], ""
    (other,) = there.keys() - {"train"}
    return there[other], f"{root} has no {split} images: {other} serves as {split} ({len(there[other])} images)"


def _every_tenth(root: Path, files: Sequence[T]) -> tuple[list[T], list[T]]:
    if len(files) < 2:
        raise DataError(f"{root} holds a single training image and no val or test images: add images to train, val or test")
    rest = [file for place, file in enumerate(files) if place % EVERY]
    return rest, list(files[::EVERY])


def _files(root: Path, split: str) -> list[Files]:
    if image_files(root / "train"):
        return [(path, None) for path in image_files(root / split)]
    return _partners(root / "A" / split, root / "B" / split)


def _partners(folder_a: Path, folder_b: Path) -> list[Files]:
    a, b = _by_stem(folder_a), _by_stem(folder_b)
    alone = [path for stem, path in (a | b).items() if (stem in a) != (stem in b)]
    if alone:
        other = folder_b if alone[0].parent == folder_a else folder_a
        more = f" ({len(alone)} images lack one)" if len(alone) > 1 else ""
        raise DataError(f"{alone[0]} has no partner of the same name in {other}{more}: add it, or remove the image")
    return [(path, b[stem]) for stem, path in a.items()]


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in image_files(folder):
        first = files.setdefault(path.stem, path)
        if first is not path:
            raise DataError(f"{first} and {path.name} have the same name: remove one, for a pair is found by its name")
    return files


def _halves(path: Path) -> tuple[Image.Image, Image.Image]:
    image = read_rgb(path)
    half, odd = divmod(image.width, 2)
    if odd:
        raise DataError(f"{path} is {image.width} pixels wide: A and B side by side need an even width; crop it, or remove it")
    return image.crop((0, 0, half, image.height)), image.crop((half, 0, image.width, image.height))

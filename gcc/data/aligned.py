"""Image pairs in the folder layouts of pix2pix."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from gcc.data.folders import describe_contents, require_folder
from gcc.data.hold_out import SPLITS, every_tenth, select_split
from gcc.data.images import image_files, read_rgb
from gcc.data.paired import PairedImages, same_size
from gcc.errors import DataError
from gcc.recipe import Recipe

LAYOUTS = "expected train/ with images that hold A (left) and B (right) side by side, or A/train/ and B/train/ with images of equal names"
Files = tuple[Path, Path | None]
"""Image A and image B, or the image that holds both and None."""


class Aligned(PairedImages[Files]):
    """Image pairs: `train/*.jpg` with A and B side by side, or `A/train/` and `B/train/`; the same for `val` and `test`.

    If both layouts exist, the side-by-side images count, because pix2pix joins them from the others. If `val` or `test` is missing, the
    other serves as both. If both are missing, every tenth training image is held out for them.
    """

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        super().__init__(recipe)
        root = require_folder(root)
        if not self.matches(root):
            raise DataError(f"{root} holds {describe_contents(root)}: {LAYOUTS}")
        splits = {name: files for name in SPLITS if (files := _files(root, name))}
        self.files, self.note = select_split(root, splits, split, every_tenth, len)

    @classmethod
    def matches(cls, root: Path) -> bool:
        return _is_joined(root) or any(_has_domains(root, split) for split in SPLITS)

    def read(self, file: Files) -> tuple[Image.Image, Image.Image]:
        a, b = file
        return _halves(a) if b is None else same_size(read_rgb(a), read_rgb(b), f"{a} and {b}")


def _is_joined(root: Path) -> bool:
    """Return whether images hold A and B side by side: those of train, or in a folder without training images those of another split."""
    return bool(image_files(root / "train")) or (not _has_domains(root, "train") and any(image_files(root / split) for split in SPLITS))


def _has_domains(root: Path, split: str) -> bool:
    return all((root / side / split).is_dir() for side in "AB")


def _files(root: Path, split: str) -> list[Files]:
    if _is_joined(root):
        return [(path, None) for path in image_files(root / split)]
    return _partners(root / "A" / split, root / "B" / split)


def _partners(folder_a: Path, folder_b: Path) -> list[Files]:
    a, b = _by_stem(folder_a), _by_stem(folder_b)
    unpaired = [path for stem, path in (a | b).items() if (stem in a) != (stem in b)]
    if unpaired:
        other = folder_b if unpaired[0].parent == folder_a else folder_a
        more = f" ({len(unpaired)} images lack one)" if len(unpaired) > 1 else ""
        raise DataError(f"{unpaired[0]} has no partner of the same name in {other}{more}: add it, or remove the image")
    return [(path, b[stem]) for stem, path in a.items()]


def _by_stem(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in image_files(folder):
        first = files.setdefault(path.stem, path)
        if first is not path:
            raise DataError(f"{first} and {path.name} have the same name: remove one, because pairs are matched by name")
    return files


def _halves(path: Path) -> tuple[Image.Image, Image.Image]:
    image = read_rgb(path)
    half, odd = divmod(image.width, 2)
    if odd:
        raise DataError(f"{path} is {image.width} pixels wide: A and B side by side need an even width; crop it, or remove it")
    return image.crop((0, 0, half, image.height)), image.crop((half, 0, image.width, image.height))

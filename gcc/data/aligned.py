"""Image pairs in the folder layouts of pix2pix."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from gcc.data.bands import P, Picture
from gcc.data.folders import describe_contents, require_folder
from gcc.data.hold_out import SPLITS, every_tenth, select_split
from gcc.data.images import images_below, read_image, read_size
from gcc.data.inspection import ImageInfo
from gcc.data.paired import PairedImages, same_size
from gcc.errors import DataError, listed
from gcc.recipe import Recipe
from gcc.utils.units import counted

LAYOUTS = "expected train/ with images that hold A (left) and B (right) side by side, or A/train/ and B/train/ with images of equal names"
Files = tuple[Path, Path | None]
"""Image A and image B, or the image that holds both and None."""


class Aligned(PairedImages[Files]):
    """Image pairs: `train/*.jpg` with A and B side by side, or `A/train/` and `B/train/`; the same for `val` and `test`.

    Subfolders are read too. If both layouts exist, the side-by-side images count, because pix2pix joins them from the others. If `val` or
    `test` is missing, the other serves as both. If both are missing, every tenth training image is held out for them.
    """

    def __init__(self, root: Path | None, split: str, recipe: Recipe) -> None:
        super().__init__(recipe)
        self.root = root = require_folder(root)
        if not self.matches(root):
            raise DataError(f"{root} holds {describe_contents(root)}: {LAYOUTS}")
        splits = {name: files for name in SPLITS if (files := _files(root, name))}
        self.files, self.note = select_split(root, splits, split, every_tenth, len)
        self.resized_part = "" if self.files[0][1] else "each half (A or B) of "

    @classmethod
    def matches(cls, root: Path) -> bool:
        return _is_joined(root) or any(_has_domains(root, split) for split in SPLITS)

    def read(self, file: Files) -> tuple[Picture, Picture]:
        (a, b), (of_a, of_b) = file, self.channels
        image = read_image(a, of_a, self.value_range)
        if b is not None:
            return same_size(image, read_image(b, of_b, self.value_range), f"{a} and {b}")
        left, right = halves(a, image)
        return left, right if of_a == of_b else halves(a, read_image(a, of_b, self.value_range))[1]

    def images_of(self, file: Files) -> Iterator[tuple[Path, int]]:
        (a, b), (of_a, of_b) = file, self.channels
        yield a, of_a
        if b is not None or of_a != of_b:
            yield b or a, of_b

    def inspect(self) -> list[ImageInfo]:
        # Each file that holds both images is as wide as both.
        return [replace(info, size=(info.size[0] // 2, info.size[1])) if self.resized_part else info for info in super().inspect()]

    @classmethod
    def is_side_by_side(cls, root: Path) -> bool:
        """Return whether the training images of a folder each hold A and B side by side."""
        return bool(_joined(root, "train"))


def _is_joined(root: Path) -> bool:
    """Return whether images hold A and B side by side: those of train, or in a folder without training images those of another split."""
    return bool(_joined(root, "train")) or (not _has_domains(root, "train") and any(_joined(root, split) for split in SPLITS))


def _has_domains(root: Path, split: str) -> bool:
    return all((root / side / split).is_dir() for side in "AB")


def _files(root: Path, split: str) -> list[Files]:
    if _is_joined(root):
        return [(path, None) for path in _joined(root, split)]
    return _partners(root / "A" / split, root / "B" / split)


def _joined(root: Path, split: str) -> list[Path]:
    """Return the images of a split that hold A and B side by side; an empty list if they lie in a folder each."""
    files = images_below(root / split)
    return [] if _are_partners(root / split, files) else files


def _are_partners(folder: Path, files: list[Path]) -> bool:
    """Return whether all images lie in two subfolders, with the same names in both, and are not as wide as two squares."""
    names: dict[Path, set[str]] = {}
    for path in files:
        names.setdefault(path.parent, set()).add(path.stem)
    if len(names) != 2 or folder in names or len({frozenset(stems) for stems in names.values()}) != 1:
        return False
    width, height = read_size(files[0])
    return width != 2 * height


def _partners(folder_a: Path, folder_b: Path) -> list[Files]:
    a, b = _by_stem(folder_a), _by_stem(folder_b)
    unpaired = [path for stem, path in (a | b).items() if (stem in a) != (stem in b)]
    if unpaired:
        lacking = [
            f"{path} has no partner of the same name in {folder_b if path.is_relative_to(folder_a) else folder_a}" for path in unpaired
        ]
        raise DataError(f"{listed(lacking)}: add it, or remove the image")
    return [(path, b[stem]) for stem, path in a.items()]


def _by_stem(folder: Path) -> dict[Path, Path]:
    """Return the images of a folder by their paths in it, without suffixes."""
    files: dict[Path, Path] = {}
    for path in images_below(folder):
        first = files.setdefault(path.relative_to(folder).with_suffix(""), path)
        if first is not path:
            raise DataError(f"{first} and {path.name} have the same name: remove one, because pairs are matched by name")
    return files


def halves(path: Path, image: P) -> tuple[P, P]:
    """Return A, the left half, and B, the right half, of an image read from `path`.

    Raises:
        DataError: the width is odd.
    """
    half, odd = divmod(image.width, 2)
    if odd:
        raise DataError(f"{path} is {counted(image.width, 'pixel')} wide: A and B side by side need an even width; crop it, or remove it")
    return image.crop((0, 0, half, image.height)), image.crop((half, 0, image.width, image.height))

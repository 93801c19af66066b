"""Finds images that hold A and B side by side, and takes the half that a generator translates."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path

from gcc.artifacts.config import Artifact
from gcc.artifacts.run_folder import RunData, data_of
from gcc.data.aligned import Aligned, halves
from gcc.data.bands import Picture
from gcc.data.hold_out import SPLITS
from gcc.data.images import images_below, read_image, read_size
from gcc.errors import DataError, GccError
from gcc.recipe import Range, data_range, image_size

PAIRED = "paired"
"""The kind of samples that side-by-side images hold."""
ALIGNED = "aligned"
"""The dataset that reads them."""


class InputHalves:
    """The halves of side-by-side images that a generator translates.

    Without a choice of the user, an image holds A and B if the generator translates pairs in a direction of its recipe, and the image

    - belongs to the data of the generator's run, and its training images hold both;
    - or lies in the split folder of any such data, and is at least twice as wide as high;
    - or has the size of the run's training images, or of two squares of the recipe's size next to each other. This does not count if the
      run's data exists and has another layout.

    Args:
        artifact: the saved generator.
        pairs: whether all images hold A and B; None decides for each image.
        value_range: the values of black and white in files with more than 8 bits. None means those of the recipe.

    Attributes:
        input: which half is translated, A (left) or B (right); empty if the generator does not translate pairs.
        direction: the recipe's direction, such as "BtoA".
        sizes: widths and heights of images that hold A and B wherever they lie.
        channels: channels of the generator's input.
        value_range: the values of black and white in files with more than 8 bits; None if each type has its own.

    Raises:
        GccError: `pairs` is chosen for a generator that does not translate pairs.
    """

    def __init__(self, artifact: Artifact, pairs: bool | None, value_range: Range | None = None) -> None:
        self.value_range = value_range or data_range(artifact.recipe)
        self.direction = str(artifact.recipe.to_dict().get("direction", "")) if artifact.architecture.samples == PAIRED else ""
        self.input = self.direction[:1]
        if pairs and not self.input:
            raise GccError(f"{artifact.folder} does not translate one half of a pair to the other: leave `pairs` out")
        self._pairs = pairs
        self.channels = artifact.example_input().shape[1]
        known = data_of(artifact.folder) or RunData(None, None)
        self._data = known.folder.resolve() if known.folder and known.folder.is_dir() else None
        self._data_has_pairs = bool(self._data and known.dataset in (None, ALIGNED) and _is_side_by_side(self._data))
        self.sizes: set[tuple[int, int]] = set()
        if self.input and (self._data is None or self._data_has_pairs):
            width, height = image_size(artifact.recipe)
            self.sizes.add((2 * width, height))
        if self.input and self._data and self._data_has_pairs:
            self.sizes |= _first_size(images_below(self._data / "train"))

    def holds_both(self, path: Path, image: Picture) -> bool:
        """Return whether an image, read from `path`, holds A and B."""
        if self._pairs is not None or not self.input:
            return bool(self._pairs)
        width, height = image.size
        roots = [folder.parent for folder in path.resolve().parents if folder.name in SPLITS]
        if self._data in roots:
            return self._data_has_pairs
        if width >= 2 * height and any(root.name not in ("A", "B") and _is_side_by_side(root) for root in roots):
            return True
        return image.size in self.sizes

    @property
    def side(self) -> str:
        """The side of a pair that is translated, left or right."""
        return "left" if self.input == "A" else "right"

    def read(self, path: Path) -> tuple[Picture, bool]:
        """Return what is translated of an image file, the half or the whole image, and whether it is a half.

        Raises:
            DataError: the image cannot be read, or holds A and B and its width is odd.
        """
        image = read_image(path, self.channels, self.value_range)
        if self.holds_both(path, image):
            return halves(path, image)["AB".index(self.input)], True
        return image, False


def _first_size(files: Iterable[Path]) -> set[tuple[int, int]]:
    """Return the size of the first image whose header can be read; an empty set if there is none."""
    for file in files:
        with suppress(DataError):
            return {read_size(file)}
    return set()


@cache
def _is_side_by_side(root: Path) -> bool:
    try:
        return Aligned.is_side_by_side(root)
    except DataError:
        return False

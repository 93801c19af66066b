"""Which files translated images are written to, and what these hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from gcc.artifacts.config import CONFIG
from gcc.data.arrays import mapped
from gcc.data.folders import describe_lack
from gcc.data.images import ARRAY_SUFFIX, images_below, kind_of
from gcc.data.writing import EIGHT_BITS, VALUE_SUFFIXES, holds, kind_in, suffix_like
from gcc.errors import DataError
from gcc.recipe import Range
from gcc.utils.units import counted

COLOURS = {1: "grey", 3: "RGB", 4: "RGBA"}
"""What pictures show, by the number of channels."""


@dataclass(frozen=True)
class Output:
    """A file that a translated image is written to.

    Attributes:
        path: the file.
        image: the image that is read.
        read: the type of its values.
        channels: of the image that is written.
    """

    path: Path
    image: Path
    read: np.dtype
    channels: int

    @property
    def kind(self) -> np.dtype | None:
        """The type of the values to write; None, the default of `write_image`, for a picture with 8 bits in a NumPy file."""
        is_picture = self.read == EIGHT_BITS and self.image.suffix.lower() not in VALUE_SUFFIXES
        return None if is_picture and self._suffix == ARRAY_SUFFIX else kind_in(self._suffix, self.read, self.channels)

    def shaped(self, fake: Tensor) -> Tensor:
        """Return a translated image (C, H, W) as (H, W) if it has one channel and the image that is read is a NumPy file of this shape."""
        is_flat = len(fake) == 1 and self.image.suffix.lower() == ARRAY_SUFFIX and mapped(self.image).ndim == 2
        return fake[0] if is_flat else fake

    @property
    def reason(self) -> str:
        """Why the file holds fewer bits than the image, or has another format than a picture; empty if neither is so."""
        if self.kind == EIGHT_BITS != self.read:
            return f"since {self._suffix} files do not hold {self.read}"
        if self._suffix == ARRAY_SUFFIX == suffix_like(self.image, self.channels) != self.image.suffix.lower():
            return f"since PNG files do not hold {self.channels} channels"
        return ""

    def __str__(self) -> str:
        if self._suffix == ARRAY_SUFFIX:
            text = "a NumPy file"
        elif self._suffix in VALUE_SUFFIXES:
            text = "a TIFF file"
        else:
            text = f"{8 if self.kind == EIGHT_BITS else 16}-bit {COLOURS[self.channels]}"
        return f"{text}, {self.reason}" if self.reason else text

    @property
    def _suffix(self) -> str:
        return self.path.suffix.lower()


def images_to_read(source: Path, target: Path, leave_out: Collection[Path]) -> list[Path]:
    """Return an image, or the images of a folder and its subfolders.

    Args:
        source: the image or the folder.
        target: the file or folder to write.
        leave_out: resolved paths of folders that are not entered.

    Raises:
        DataError: `source` holds no images, or those of a folder cannot be written to `target`.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise DataError(f"there is no image or folder {source}")
    if target.is_file():
        raise DataError(f"{target} is a file: expected a folder, since {source} is one")
    if (target / CONFIG).is_file():
        raise DataError(f"{target} contains a saved generator: expected another folder for images")
    images = images_below(source, leave_out)
    if not images:
        raise DataError(f"the folder {source} holds no images: {describe_lack(source)}")
    return images


def outputs_of(source: Path, target: Path, kinds: Mapping[Path, np.dtype], channels: int) -> dict[Path, Output]:
    """Return the file to write for each image; no image is overwritten.

    Args:
        source: the image, or the folder of the images.
        target: the file to write, or a folder.
        kinds: the images, and the types of their values.
        channels: of the images that are written.

    Raises:
        DataError: a file would overwrite an image or another output, or its suffix is not that of a format for so many channels.
    """
    outputs = {}
    for image, kind in kinds.items():
        suffix = suffix_like(image, channels)
        own = target if target.suffix and not target.is_dir() else target / f"{source.stem}{suffix}"
        path = own if source.is_file() else target / image.relative_to(source).with_suffix(suffix)
        outputs[image] = Output(path, image, kind, channels)
        if not holds(path.suffix.lower(), channels):
            fitting = f"of a format that is written with {counted(channels, 'channel')}"
            raise DataError(f"{target} does not have the suffix {fitting}: expected one such as {suffix}")
    sources, writers = {image.resolve() for image in outputs}, dict[Path, Path]()
    for image, output in outputs.items():
        if output.path.resolve() in sources:
            raise DataError(f"{image} would overwrite the image {output.path}: choose another OUTPUT")
        if writers.setdefault(output.path, image) is not image:
            raise DataError(f"{writers[output.path]} and {image} would both be written to {output.path}: rename one")
    return outputs


def kinds_of(images: Collection[Path], channels: int, value_range: Range | None) -> dict[Path, np.dtype]:
    """Return the types of the images' values; that of pictures with 8 bits for those that cannot be read, which are reported later."""
    kinds = {}
    for image in images:
        try:
            kinds[image] = kind_of(image, channels, value_range)
        except DataError:
            kinds[image] = EIGHT_BITS
    return kinds

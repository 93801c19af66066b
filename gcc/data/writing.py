"""Writes image files: pictures, TIFF files, and NumPy files."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gcc.data.images import ARRAY_SUFFIX, to_image
from gcc.data.levels import from_tensor, whole_range
from gcc.data.png import write_deep_colours
from gcc.data.tiff import SUFFIXES as TIFF_SUFFIXES
from gcc.data.tiff import write_tiff
from gcc.errors import OutputError
from gcc.recipe import Range
from gcc.utils.units import counted

PNG_SUFFIX = ".png"
PICTURE_CHANNELS = (1, 3, 4)
"""Channels of pictures: grey, RGB and RGBA."""
VALUE_SUFFIXES = (ARRAY_SUFFIX, *TIFF_SUFFIXES)
"""Suffixes of files with any channels and types."""
TRIAL = 16
"""Height and width of the picture that is written to test a format. Icons allow only certain sizes, such as this one."""
EIGHT_BITS, SIXTEEN_BITS, FLOAT = np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(np.float32)


@cache
def holds(suffix: str, channels: int) -> bool:
    """Return whether files of a suffix can be written with so many channels; what Pillow writes depends on its libraries."""
    if suffix in VALUE_SUFFIXES or channels not in PICTURE_CHANNELS:
        return suffix in VALUE_SUFFIXES
    try:
        to_image(torch.zeros(channels, TRIAL, TRIAL)).save(BytesIO(), Image.registered_extensions()[suffix])
    except (KeyError, OSError, ValueError):
        return False
    return True


def suffix_for(channels: int) -> str:
    """Return the suffix of the files that images with 8 bits are written to unless the user gives one."""
    return PNG_SUFFIX if channels in PICTURE_CHANNELS else ARRAY_SUFFIX


def suffix_like(path: Path, channels: int) -> str:
    """Return the suffix of the file that keeps the format of an image file, or of the nearest one with so many channels."""
    suffix = path.suffix.lower()
    return suffix if suffix in VALUE_SUFFIXES else suffix_for(channels)


def kind_in(suffix: str, kind: np.dtype, channels: int) -> np.dtype:
    """Return the type of values in files of a suffix that is nearest to a type: PNG files have 8 or 16 bits, and other pictures 8."""
    is_deep_png = kind == SIXTEEN_BITS and channels in PICTURE_CHANNELS and suffix == PNG_SUFFIX
    return kind if suffix in VALUE_SUFFIXES or is_deep_png else EIGHT_BITS


def write_image(path: Path, tensor: Tensor, kind: np.dtype | None = None, value_range: Range | None = None) -> None:
    """Write a tensor in [-1, 1] as an image file in the format of the suffix.

    Args:
        path: the file.
        tensor: the image, (C, H, W); or (H, W) for one channel, a shape that NumPy files keep.
        kind: the type of the values in NumPy and TIFF files, and uint16 for 16 bits in a PNG file; None means float32 in NumPy files
            and 8 bits in others.
        value_range: the values of black and white, unless there are 8 bits; None means those of the type.

    Raises:
        OutputError: the suffix is not that of a format for so many channels, or the file cannot be written.
        GccError: tifffile is needed and not installed.
    """
    image = tensor if tensor.ndim == 3 else tensor[None]
    suffix, channels = path.suffix.lower(), len(image)
    if not holds(suffix, channels):
        expected = PNG_SUFFIX if channels in PICTURE_CHANNELS else f"{ARRAY_SUFFIX}, since it has {counted(channels, 'channel')}"
        raise OutputError(f"cannot write the image {path}: expected a suffix such as {expected}")
    kind = kind_in(suffix, kind or (FLOAT if suffix == ARRAY_SUFFIX else EIGHT_BITS), channels)
    try:
        if suffix != ARRAY_SUFFIX and kind == EIGHT_BITS and channels in PICTURE_CHANNELS:
            to_image(image).save(path)
            return
        values = from_tensor(image, kind, whole_range(kind) if kind == EIGHT_BITS or value_range is None else value_range)
        if suffix == ARRAY_SUFFIX:
            np.save(path, values.reshape(tensor.shape), allow_pickle=False)
        elif kind == SIXTEEN_BITS and channels == 1:
            Image.fromarray(values[0]).save(path)
        elif suffix == PNG_SUFFIX:
            write_deep_colours(path, values)
        else:
            write_tiff(path, values)
    except (OSError, ValueError) as error:
        raise OutputError(f"cannot write the image {path}: {getattr(error, 'strerror', None) or error}") from error

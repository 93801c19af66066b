"""Images with any number of channels as arrays, and NumPy files of them; nothing is unpickled."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image

from gcc.data.bands import Bands
from gcc.data.levels import to_levels
from gcc.errors import DataError
from gcc.recipe import Range
from gcc.utils.units import counted

EXPECTED = "(H, W), (H, W, C) or (C, H, W)"


def read_array(path: Path, channels: int) -> np.ndarray:
    """Return the values of an image in a NumPy file as (C, H, W), mapped into memory.

    Args:
        path: the file, with an array (H, W), (H, W, C) or (C, H, W).
        channels: the expected number of channels.

    Raises:
        DataError: the file is missing or damaged, or its array has another shape.
    """
    array = mapped(path)
    return channels_first(array, axis_of_channels(path, array.shape, channels))


def mapped(path: Path) -> np.ndarray:
    """Return the array of a NumPy file, mapped into memory.

    Raises:
        DataError: the file is missing or damaged, empty, or holds several arrays.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"cannot read the array {path}: there is no such file") from error
    except MemoryError:
        raise
    except Exception as error:  # Damaged headers raise exceptions of several types.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read the array {path}: {reason}; expected what numpy.save writes, without Python objects") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"cannot read the array {path}: it is an archive of several; expected a single image, {EXPECTED}")
    if 0 in array.shape:
        raise DataError(f"cannot read the array {path}: it is empty; expected an image, {EXPECTED}")
    return array


def as_bands(path: Path, values: np.ndarray, value_range: Range | None) -> Bands:
    """Return values (C, H, W), read from `path`, as an image.

    Args:
        path: the file, for messages.
        values: uint8 from black to white, or any other real numbers.
        value_range: the values of black and white; None means uint16 over its whole range, and floating-point numbers from -1 to 1.

    Raises:
        DataError: the values have another type or range, or are not finite.
    """
    layers = values if values.dtype == np.uint8 else _levels(path, values, value_range)
    return Bands([Image.fromarray(np.ascontiguousarray(layer)) for layer in layers])


def size_of(path: Path, shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the width and height of an image by the shape of its array; the smaller one of the outer dimensions counts channels.

    Args:
        path: the file, for messages.
        shape: of the array.

    Raises:
        DataError: it is not an image.
    """
    match shape:
        case (height, width):
            return width, height
        case (first, second, third):
            return (third, second) if first <= third else (second, first)
    raise DataError(f"{path} has the shape {shape}: expected an image, {EXPECTED}")


def axis_of_channels(path: Path, shape: tuple[int, ...], channels: int) -> int | None:
    """Return which axis of an array, read from `path`, counts channels, 0 or -1; None if the array has height and width only.

    Raises:
        DataError: the shape is not that of an image with so many channels, or leaves the axis open.
    """
    if len(shape) == 2 and channels == 1:
        return None
    axes = [axis for axis in (0, -1) if len(shape) == 3 and shape[axis] == channels]
    if len(axes) == 2 and channels > 1:
        raise DataError(f"{path} has the shape {shape}: its channels may be the first or the last dimension; crop or pad the image")
    if not axes:
        raise DataError(
            f"{path} has the shape {shape}: expected {counted(channels, 'channel')}, {EXPECTED}; save it so, or change `input_nc` or "
            "`output_nc`"
        )
    return axes[0]


def channels_first(array: np.ndarray, axis: int | None) -> np.ndarray:
    """Return an array as (C, H, W); `axis` counts its channels, or is None if it has height and width only."""
    return array[None] if axis is None else np.moveaxis(array, axis, 0)


def _levels(path: Path, values: np.ndarray, value_range: Range | None) -> np.ndarray:
    """Return values as float32 from 0 to 255."""
    kind = values.dtype
    if kind.kind not in "iuf" if value_range else kind.kind != "f" and (kind.kind, kind.itemsize) != ("u", 2):
        remedy = "" if value_range or kind.kind not in "iu" else "; give their `range`, which other integers need"
        raise DataError(f"{path} has values of type {kind}: expected uint8, uint16, or floating-point numbers from -1 to 1{remedy}")
    low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise DataError(f"{path} has values from {low:.4g} to {high:.4g}: expected finite numbers")
    if value_range:
        return to_levels(values, value_range)
    if kind.kind == "u":
        return values.astype(np.float32) / 257
    if not (low >= -1 and high <= 1):
        raise DataError(
            f"{path} has values from {low:.4g} to {high:.4g}: expected floating-point numbers from -1 to 1, or uint8 or uint16; give the "
            "`range` of the files"
        )
    return ((values.astype(np.float64) + 1) * 127.5).astype(np.float32)

"""Reads images with any number of channels from NumPy files; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from gcc.data.bands import Bands
from gcc.errors import DataError

EXPECTED = "(H, W), (H, W, C) or (C, H, W)"


def read_array(path: Path, channels: int) -> Bands:
    """Read a NumPy file as an image: uint8, uint16 over their whole range, or floating-point numbers from -1 to 1.

    Args:
        path: the file, with an array (H, W), (H, W, C) or (C, H, W).
        channels: the expected number of channels.

    Raises:
        DataError: the file is missing or damaged, or its array has another shape, type or range.
    """
    array = _mapped(path)
    layers = _channels_first(path, array, channels)
    if layers.dtype == np.uint8:
        return Bands([Image.fromarray(np.ascontiguousarray(layer)) for layer in layers])
    return Bands([Image.fromarray(np.ascontiguousarray(layer)) for layer in _levels(path, layers)])


def array_size(path: Path) -> tuple[int, int]:
    """Return the width and height of the image in a NumPy file; the smaller one of the outer dimensions counts channels.

    Raises:
        DataError: the header cannot be read, or the array is not an image.
    """
    array = _mapped(path)
    if array.ndim == 3:
        array = array[0] if array.shape[0] <= array.shape[2] else array[..., 0]
    if array.ndim != 2:
        raise DataError(f"{path} has the shape {array.shape}: expected an image, {EXPECTED}")
    height, width = array.shape
    return width, height


def _mapped(path: Path) -> np.ndarray:
    """Return the array of a file, mapped into memory."""
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError as error:
        raise DataError(f"cannot read the array {path}: there is no such file") from error
    except MemoryError:
        raise
    except Exception as error:  # Damaged headers raise exceptions of several types.
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot read the array {path}: {reason}; expected what numpy.save writes, without Python objects") from error
    if not isinstance(array, np.ndarray) or 0 in array.shape:
        raise DataError(f"cannot read the array {path}: it is empty, or an archive of several; expected a single image, {EXPECTED}")
    return array


def _channels_first(path: Path, array: np.ndarray, channels: int) -> np.ndarray:
    """Return an array as (C, H, W)."""
    if array.ndim == 2 and channels == 1:
        return array[None]
    first, last = (array.ndim == 3 and array.shape[axis] == channels for axis in (0, -1))
    if first and last and channels > 1:
        raise DataError(f"{path} has the shape {array.shape}: its channels may be the first or the last dimension; crop or pad the image")
    if not (first or last):
        raise DataError(
            f"{path} has the shape {array.shape}: expected {channels} channel{'s' if channels > 1 else ''}, {EXPECTED}; save it so, or "
            "change `input_nc` or `output_nc`"
        )
    return array if first else array.transpose(2, 0, 1)


def _levels(path: Path, layers: np.ndarray) -> np.ndarray:
    """Return values as float32 from 0 to 255."""
    if layers.dtype.kind == "u" and layers.dtype.itemsize == 2:
        return layers.astype(np.float32) / 257
    if layers.dtype.kind != "f":
        raise DataError(f"{path} has values of type {layers.dtype}: expected uint8, uint16, or floating-point numbers from -1 to 1")
    low, high = float(layers.min()), float(layers.max())
    if not (low >= -1 and high <= 1):
        raise DataError(f"{path} has values from {low:.4g} to {high:.4g}: expected floating-point numbers from -1 to 1, or uint8 or uint16")
    return ((layers.astype(np.float64) + 1) * 127.5).astype(np.float32)

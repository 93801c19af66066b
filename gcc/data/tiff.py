"""TIFF files that Pillow does not read: any number of channels, of any type."""

from __future__ import annotations

import logging
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gcc.data.arrays import EXPECTED, axis_of_channels, channels_first
from gcc.errors import DataError
from gcc.recipe import RGB
from gcc.utils.optional import needed

SUFFIXES = (".tif", ".tiff")
"""Suffixes of TIFF files, in lower case."""
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""The first bytes of a TIFF file."""

# Files that one of them cannot read are reported once, as errors.
for name in ("tifffile", "PIL.TiffImagePlugin"):
    logging.getLogger(name).addHandler(logging.NullHandler())


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as TIFF files do."""
    try:
        with path.open("rb") as file:
            return file.read(4) in MAGIC
    except OSError:
        return False


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Yield the only image of a file, as tifffile describes it.

    Raises:
        DataError: opening or reading it fails, or the file holds several images, or a palette.
        GccError: tifffile is not installed.
    """
    with needed(f"{path}, a TIFF file that Pillow does not read,", "tifffile", "tiff"):
        import tifffile
    try:
        # Metadata of OME-TIFF may name other files, which are not read.
        with tifffile.TiffFile(path, _multifile=False) as file:
            if len(file.series) != 1:
                raise DataError(f"{path} holds {len(file.series)} images: expected one, {EXPECTED}; save it so")
            (series,) = file.series
            if 0 in series.shape:
                raise DataError(f"cannot read the image {path}: it is empty; expected an image, {EXPECTED}")
            _require_plain(path, series.keyframe)
            yield series
    except (DataError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise DataError(f"cannot read the image {path}: there is no such file") from error
    except Exception as error:  # Decoders raise exceptions of every type for damaged files.
        reason = " ".join(str(error).split()) or type(error).__name__
        remedy = "install that, or save it uncompressed" if "imagecodecs" in reason else "save it again, or remove it"
        raise DataError(f"cannot read the image {path}: {reason}; expected a TIFF file, {EXPECTED}; {remedy}") from error


def _require_plain(path: Path, page: Any) -> None:
    """Refuse pages whose values are not those of channels from black to white, stored upright, and compression that cannot be read.

    Raises:
        DataError: the page is one of these.
    """
    import tifffile

    photometric, orientation = page.photometric, page.tags.get("Orientation")
    if photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
        kind = getattr(photometric, "name", photometric)
        raise DataError(
            f"{path} stores its colours as {kind}: expected grey, RGB or bands whose lowest value is black; save it in one of these forms"
        )
    if orientation is not None and orientation.value != 1:
        raise DataError(f"{path} is stored turned or mirrored: expected an upright image; save it so")
    if page.compression not in (tifffile.COMPRESSION.NONE, *_deflate()) and find_spec("imagecodecs") is None:
        raise DataError(f"{path} is compressed ({page.compression.name}): install imagecodecs, or save it uncompressed")


def read_tiff(path: Path, channels: int) -> np.ndarray:
    """Return the values of an image in a TIFF file as (C, H, W): one page, or a page for each channel.

    Args:
        path: the file.
        channels: the expected number of channels.

    Raises:
        DataError: the file is missing or damaged, or holds something else than an image with so many channels.
        GccError: tifffile is not installed.
    """
    with opened(path) as series:
        axis = axis_of_channels(path, series.shape, channels)
        limit = 2 * (Image.MAX_IMAGE_PIXELS or math.inf)
        if math.prod(series.shape) > limit * channels:
            raise DataError(f"cannot read the image {path}: it has more than {limit:,} pixels; make it smaller")
        is_sound = _is_whole(path, series) and _inflates_within_size(path, series)
        values = series.asarray(maxworkers=1) if is_sound else np.empty(0)
        if values.shape != series.shape:
            raise DataError(
                f"cannot read the image {path}: it is damaged, as parts of its pixels are missing or too long; remove it, or save it again"
            )
        return channels_first(values, axis)


def _deflate() -> tuple[Any, ...]:
    """Return the kinds of compression that Python's zlib reads."""
    import tifffile

    return tifffile.COMPRESSION.DEFLATE, tifffile.COMPRESSION.ADOBE_DEFLATE


def _inflates_within_size(path: Path, series: Any) -> bool:
    """Return whether no part of an image has more bytes than its size allows; tifffile would decompress them all."""
    page = series.keyframe
    if page.compression not in _deflate():
        return True
    limit = math.prod(page.chunks) * page.dtype.itemsize
    with path.open("rb") as file:
        for of_page in series:
            for offset, count in zip(of_page.dataoffsets, of_page.databytecounts, strict=True):
                file.seek(offset)
                if len(zlib.decompressobj().decompress(file.read(count), limit + 1)) > limit:
                    return False
    return True


def _is_whole(path: Path, series: Any) -> bool:
    """Return whether all parts of an image are in the file; tifffile would fill others with zeros."""
    end, expected = path.stat().st_size, math.prod(series.keyframe.chunked)
    ends = [[offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)] for page in series]
    counts = (count for page in series for count in page.databytecounts)
    return all(counts) and all(len(of_page) == expected and max(of_page) <= end for of_page in ends)


def write_tiff(path: Path, values: np.ndarray) -> None:
    """Write values (C, H, W) as a TIFF file of one page.

    Raises:
        GccError: tifffile is not installed.
        OSError: the file cannot be written.
    """
    with needed("writing a TIFF file that Pillow does not write", "tifffile", "tiff"):
        import tifffile
    channels = len(values)
    photometric = "rgb" if channels in (RGB, RGB + 1) else "minisblack"
    image = values[0] if channels == 1 else np.ascontiguousarray(np.moveaxis(values, 0, -1))
    tifffile.imwrite(path, image, photometric=photometric, planarconfig=None if channels == 1 else "contig", metadata=None)

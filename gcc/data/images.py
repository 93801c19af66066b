"""Reads image files: every format that Pillow reads, other TIFF files, and NumPy files; tensors lie in [-1, 1]."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from torch import Tensor

from gcc.data.arrays import as_bands, mapped, read_array, size_of
from gcc.data.bands import Bands, P, Picture
from gcc.data.levels import to_levels
from gcc.data.tiff import SUFFIXES as TIFF_SUFFIXES
from gcc.data.tiff import is_tiff, opened, read_tiff
from gcc.errors import DataError
from gcc.recipe import RGB, Range
from gcc.utils.units import counted

T = TypeVar("T")

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})
"""Suffixes of image files, in lower case."""

OTHER_SUFFIXES = frozenset(
    {
        ".arw",
        ".avif",
        ".cr2",
        ".dng",
        ".exr",
        ".gif",
        ".hdr",
        ".heic",
        ".heif",
        ".ico",
        ".jfif",
        ".jp2",
        ".jxl",
        ".nef",
        ".psd",
        ".svg",
        ".tga",
    }
)
"""Suffixes of images that are not read, in lower case."""

ARRAY_SUFFIX = ".npy"
"""Suffix of NumPy files."""
BITS = 8
"""Bits of a channel of Pillow's colours."""

BITS_PER_SAMPLE, SAMPLES_PER_PIXEL, EXTRA_SAMPLES = 258, 277, 338
"""Tags of TIFF."""
PREMULTIPLIED = (1,)
"""The value of `EXTRA_SAMPLES` for colours that are multiplied by alpha."""
MODES = {2: "LA", 4: "RGBA"}
"""Pillow's modes whose last channel is alpha, by their number of channels."""

BICUBIC = Image.Resampling.BICUBIC
NEAREST = Image.Resampling.NEAREST


def image_files(folder: Path) -> list[Path]:
    """Return the image files directly in `folder` in natural order (`2.png` before `10.png`); an empty list if it is not a folder.

    Hidden files are left out, such as the `._name.jpg` that macOS adds for `name.jpg`. NumPy files count if there are no others.

    Raises:
        DataError: the folder cannot be listed.
    """
    return images_among([path for path in entries(folder) if not path.is_dir()])


def images_below(folder: Path, leave_out: Collection[Path] = ()) -> list[Path]:
    """Return the image files in `folder` and, after them, those in its subfolders, each folder in natural order; without hidden ones.

    NumPy files count if there are no others.

    Args:
        folder: the folder; the list is empty if it is not one.
        leave_out: resolved paths of folders that are not entered.

    Raises:
        DataError: a folder cannot be listed.
    """
    return images_among(files_below(folder, leave_out))


def images_among(files: Iterable[Path]) -> list[Path]:
    """Return the picture files; if there are none, the NumPy files."""
    files = list(files)
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    return pictures or [path for path in files if path.suffix.lower() == ARRAY_SUFFIX]


def files_below(folder: Path, leave_out: Collection[Path] = ()) -> list[Path]:
    """Return the files in `folder` and, after them, those in its subfolders, as `images_below` does."""
    inside = entries(folder)
    folders = {path: None for path in inside if path.is_dir()}
    # A symbolic link may lead back to a folder above it.
    entered = {*leave_out, folder.resolve()}
    below = [path for child in folders if child.resolve() not in entered for path in files_below(child, entered)]
    return [path for path in inside if path not in folders] + below


def subfolders(folder: Path) -> list[Path]:
    """Return the folders directly in `folder` in natural order, without hidden ones; an empty list if it is not a folder.

    Raises:
        DataError: the folder cannot be listed.
    """
    return [path for path in entries(folder) if path.is_dir()]


def entries(folder: Path) -> list[Path]:
    """Return the entries of `folder` that are not hidden in natural order; an empty list if it is not a folder.

    Raises:
        DataError: the folder cannot be listed.
    """
    if not folder.is_dir():
        return []
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_natural)
    except OSError as error:
        raise DataError(f"cannot list the folder {folder}: {error.strerror}") from error


def _natural(path: Path) -> tuple[list[str | int], str]:
    parts = re.split(r"(\d+)", path.name)
    return [int(part) if number % 2 else part.lower() for number, part in enumerate(parts)], path.name


def read_image(path: Path, channels: int, value_range: Range | None = None) -> Picture:
    """Read an image file with a number of channels.

    RGB is read as `read_rgb` does. Grey is the luma of colours, or has all bits of a grey file. 2 and 4 channels are those of a file that
    has exactly these, whose alpha is read like any other channel. NumPy files, and TIFF files that `read_values` reads, must have the
    channels.

    Args:
        path: the file.
        channels: the number of channels.
        value_range: the values of black and white in files with more than 8 bits, which are then read with all bits. None means those of
            the type; see `gcc.data.levels`.

    Raises:
        DataError: the file cannot be read, or has other channels.
        GccError: it needs a package that is not installed.
    """
    values = read_values(path, channels, value_range)
    if values is not None:
        return as_bands(path, values, value_range)
    return read_with(path, partial(_as_picture, channels=channels, value_range=value_range))


def read_values(path: Path, channels: int, value_range: Range | None) -> np.ndarray | None:
    """Return the values of a NumPy file, or of a TIFF file that Pillow does not read with all bits and channels, as (C, H, W).

    None for any other file, which Pillow reads. RGB has more than 8 bits in TIFF files of Pillow only with a `value_range`.

    Raises:
        DataError: the file cannot be read, or has other channels.
        GccError: it needs a package that is not installed.
    """
    suffix = path.suffix.lower()
    if suffix == ARRAY_SUFFIX:
        return read_array(path, channels)
    return read_tiff(path, channels) if suffix in TIFF_SUFFIXES and _is_beyond_pillow(path, channels, value_range) else None


def kind_of(path: Path, channels: int, value_range: Range | None) -> np.dtype:
    """Return the type of the values that `read_image` reads, uint8 for all with 8 bits; only a header is read.

    Raises:
        DataError: the header cannot be read.
        GccError: it needs a package that is not installed.
    """
    if path.suffix.lower() == ARRAY_SUFFIX:
        kind = mapped(path).dtype
    elif path.suffix.lower() in TIFF_SUFFIXES and _is_beyond_pillow(path, channels, value_range):
        with opened(path) as series:
            kind = np.dtype(series.dtype)
    else:
        is_deep = read_with(path, partial(keeps_depth, channels=channels, value_range=value_range))
        kind = np.dtype(np.uint16 if is_deep else np.uint8)
    native: np.dtype = kind.newbyteorder("=")
    return native


def _is_beyond_pillow(path: Path, channels: int, value_range: Range | None) -> bool:
    """Return whether Pillow does not read a TIFF file with all bits and channels."""
    try:
        return read_with(path, partial(_lacks, channels=channels, value_range=value_range))
    except DataError:
        # Without tifffile, the fault that Pillow finds is reported.
        return is_tiff(path) and find_spec("tifffile") is not None


def _lacks(image: Image.Image, channels: int, value_range: Range | None) -> bool:
    """Return whether Pillow would lose bits or channels of an opened TIFF file; RGB keeps 8 bits unless a range is given."""
    bands, samples = len(image.getbands()), getattr(image, "tag_v2", {}).get(SAMPLES_PER_PIXEL, 1)
    are_pages_channels = bands == 1 and channels not in (1, RGB) and getattr(image, "n_frames", 1) == channels
    if are_pages_channels or bands < samples == channels:
        return True
    if channels not in (1, RGB):
        return bands == channels and (image.mode != MODES.get(channels) or bits_of(image) > BITS)
    if image.mode in ("F", "I"):
        return value_range is not None or (image.mode == "F" and channels == 1)
    return channels == RGB and value_range is not None and bits_of(image) > BITS and not image.mode.startswith("I")


def read_rgb(path: Path) -> Image.Image:
    """Read an image file as 8-bit RGB, turned upright by its EXIF orientation.

    Palettes, CMYK and grey are converted. Deeper channels keep the upper 8 of the bits that the file declares, an alpha channel is
    dropped, and an animation gives its first frame. `gcc.data.inspection` says what that changes.

    Raises:
        DataError: the file is missing, empty, truncated, damaged or too large, is not an image, has pixels without a fixed range of values,
            or is a program that Pillow would have run.
    """
    return read_with(path, to_rgb)


def read_size(path: Path) -> tuple[int, int]:
    """Return the width and height of an image file, turned upright by its EXIF orientation; only its header is read.

    Raises:
        DataError: the header cannot be read.
    """
    if path.suffix.lower() == ARRAY_SUFFIX:
        return size_of(path, mapped(path).shape)
    try:
        return read_with(path, upright_size)
    except DataError:
        if path.suffix.lower() in TIFF_SUFFIXES and is_tiff(path):
            with opened(path) as series:
                return series.keyframe.imagewidth, series.keyframe.imagelength
        raise


def read_ids(path: Path) -> np.ndarray:
    """Read an 8-bit map of label ids, (H, W) uint8; a palette gives its indices.

    Raises:
        DataError: the file cannot be read, or has more than one 8-bit channel.
    """
    return np.asarray(read_with(path, _ids))


def read_with(path: Path, convert: Callable[[Image.Image], T]) -> T:
    """Open an image file and return what `convert` returns for it.

    Raises:
        DataError: opening or converting it fails, for whatever reason.
    """
    try:
        with Image.open(path) as image:
            return convert(image)
    except MemoryError:
        raise
    except Exception as error:  # Decoders raise exceptions of every type for damaged files.
        raise DataError(f"cannot read the image {path}: {_reason(path, error)}") from error


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return the width and height of an opened image, turned upright by its EXIF orientation."""
    width, height = image.size
    return (height, width) if image.getexif().get(ExifTags.Base.Orientation, 1) >= 5 else (width, height)


def bits_of(image: Image.Image) -> int:
    """Return the bits per channel of an image that is opened and not decoded yet, 8 if they are fewer."""
    declared = getattr(image, "tag_v2", {}).get(BITS_PER_SAMPLE)
    if declared and image.format == "TIFF":
        return int(max(8, *declared))
    # Pillow decodes deep colour to 8 bits; only the arguments of its decoder tell.
    arguments = [argument for tile in getattr(image, "tile", []) for argument in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    is_deep = any(";16" in argument if isinstance(argument, str) else argument > 255 for argument in arguments if argument)
    return 16 if image.mode.startswith("I") or (is_deep and image.format in ("PNG", "PPM")) else 8


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an opened image as `read_rgb` does."""
    _require_data(image)
    if image.mode.startswith("I"):
        values, bits = integers(image)
        return Image.fromarray((values >> bits - BITS).astype(np.uint8)).convert("RGB")
    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers, which have no fixed range; save it with 8 bits per channel")
    if image.mode == "P":
        # Pillow converts a palette with transparency to RGB only via RGBA.
        image = image.convert("RGBA")
    return image.convert("RGB")


def keeps_depth(image: Image.Image, channels: int, value_range: Range | None) -> bool:
    """Return whether all of more than 8 bits of an opened image are read: as grey, or with a range, of grey as RGB and of PNG's colours."""
    if channels == 1 or value_range is None:
        return channels == 1 and image.mode.startswith("I")
    is_grey = image.mode.startswith("I") and channels == RGB
    return is_grey or (_has_deep_colours(image) and channels in (RGB, len(image.getbands())))


def deep_values(image: Image.Image) -> tuple[np.ndarray, int]:
    """Return the values of an opened image that `keeps_depth`, (C, H, W), upright, and the bits of their range.

    Raises:
        ValueError: they are beyond 16 bits.
    """
    if image.mode.startswith("I"):
        values, bits = integers(image)
        return values[None], bits
    return np.moveaxis(_deep_colours(image), -1, 0), 2 * BITS


def _as_picture(image: Image.Image, channels: int, value_range: Range | None) -> Picture:
    """Return an opened image as `read_image` does."""
    if keeps_depth(image, channels, value_range):
        _require_data(image)
        values, bits = deep_values(image)
        levels = to_levels(values, value_range) if value_range else (values * (255 / ((1 << bits) - 1))).astype(np.float32)
        return Bands([Image.fromarray(levels[min(number, len(levels) - 1)]) for number in range(channels)])
    if value_range and bits_of(image) > BITS:
        expected = f"a {'PNG, ' if channels in (RGB, RGB + 1) else ''}TIFF or NumPy file with {counted(channels, 'channel')}"
        raise ValueError(f"Pillow reads the upper 8 of its bits, so that no `range` applies; save it as {expected}")
    if channels == RGB:
        return to_rgb(image)
    return Bands([to_rgb(image).convert("L")]) if channels == 1 else _all_bands(image, channels)


def _has_deep_colours(image: Image.Image) -> bool:
    """Return whether an image that is opened and not decoded yet is a PNG file of RGB or RGBA with 16 bits."""
    return image.format == "PNG" and any(tile.args in ("RGB;16B", "RGBA;16B") for tile in getattr(image, "tile", []))


def _deep_colours(image: Image.Image) -> np.ndarray:
    """Return the 16-bit colours of a PNG file, (H, W, C), upright.

    Pillow decodes the upper byte of each value, and the lower one if it takes the order of the bytes to be the other.
    """
    with Image.open(cast(ImageFile, image).filename) as swapped:
        swapped.tile = [tile._replace(args=str(tile.args).replace("16B", "16L")) for tile in swapped.tile]
        upper, lower = (np.asarray(ImageOps.exif_transpose(half), dtype=np.uint16) for half in (image, swapped))
    return upper << BITS | lower


def _require_data(image: Image.Image) -> None:
    if image.format == "EPS":
        raise ValueError("it is a program in PostScript, which is not run whatever its suffix; save it as PNG")


def _all_bands(image: Image.Image, channels: int) -> Bands:
    """Return all channels of an opened image.

    Raises:
        ValueError: it has other channels, or its colours are multiplied by alpha.
    """
    _require_data(image)
    bands = image.getbands()
    if image.mode != MODES.get(channels):
        pictures = f" in an image of mode {MODES[channels]} or" if channels in MODES else ""
        raise ValueError(
            f"it has {counted(len(bands), 'channel')} ({image.mode}): expected {channels} channels,{pictures} in a TIFF or NumPy file; "
            "save it so, or change `input_nc` or `output_nc`"
        )
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(EXTRA_SAMPLES) == PREMULTIPLIED:
        raise ValueError("its colours are multiplied by alpha, which Pillow undoes with losses; save it as a NumPy file")
    return Bands(ImageOps.exif_transpose(image).split())


def integers(image: Image.Image) -> tuple[np.ndarray, int]:
    """Return the values of an opened image of integers, upright, and the bits of their range, from 8 to 16.

    Raises:
        ValueError: they are beyond 16 bits.
    """
    bits, values = bits_of(image), np.asarray(ImageOps.exif_transpose(image), dtype=np.int64)
    if values.min() < 0 or values.max() > 0xFFFF:
        raise ValueError("its pixels are integers beyond 16 bits; give their `range`, or save it with 8 bits per channel")
    # A file of 12 bits that says so holds values below 4096. One that does not is read like any of 16 bits: the values of a single image
    # do not show the range of all.
    return values, bits if values.max() < 1 << bits <= 1 << 16 else 16


def _ids(image: Image.Image) -> Image.Image:
    if image.mode not in ("L", "P"):
        raise ValueError(f"its pixels are {image.mode}; label ids are 8-bit grey")
    return image.copy()


def _reason(path: Path, error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "there is no such file"
        case Image.DecompressionBombError():
            return f"it has more than {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels; make it smaller"
        case UnidentifiedImageError():
            return "the file is empty" if path.stat().st_size == 0 else "it is damaged, or not an image of a known format"
        case OSError(strerror=str(reason)):
            return reason
    return " ".join(str(error).split()) or type(error).__name__


def resized(image: P, width: int, height: int, resample: Image.Resampling = BICUBIC) -> P:
    """Return the image in `width` x `height` pixels; bicubic is anti-aliased when it shrinks the image."""
    return image if image.size == (width, height) else image.resize((width, height), resample)


def to_tensor(image: Picture | np.ndarray) -> Tensor:
    """Return an image, as an array 8-bit RGB, (H, W, 3), as a float32 tensor (C, H, W) in [-1, 1]."""
    if isinstance(image, Bands):
        return image.to_tensor()
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format).div_(127.5).sub_(1.0)


def to_bytes(images: Tensor) -> Tensor:
    """Return values in [-1, 1] of any shape as the 8-bit values of an image file; values outside the range are clipped."""
    return images.detach().float().clamp(-1.0, 1.0).add(1.0).mul(127.5).round().to(torch.uint8)


def to_image(tensor: Tensor) -> Image.Image:
    """Return a tensor (C, H, W) in [-1, 1] with 1, 3 or 4 channels as an 8-bit image: grey, RGB or RGBA."""
    pixels = to_bytes(tensor).permute(1, 2, 0).contiguous().cpu().numpy()
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

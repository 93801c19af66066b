"""Writes PNG files of RGB and RGBA with 16 bits, which Pillow does not write."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from gcc.recipe import RGB

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {RGB: 2, RGB + 1: 6}
"""PNG's numbers for RGB and RGBA, by the number of channels."""
NO_FILTER = 0
"""The filter of a row whose bytes are stored as they are."""


def write_deep_colours(path: Path, values: np.ndarray) -> None:
    """Write values (C, H, W) of uint16 as a PNG file of RGB or RGBA with 16 bits.

    Raises:
        OSError: the file cannot be written.
    """
    channels, height, width = values.shape
    pixels = np.ascontiguousarray(np.moveaxis(values, 0, -1), ">u2").reshape(height, -1).view(np.uint8)
    rows = np.insert(pixels, 0, NO_FILTER, axis=1)
    header = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, 0)
    chunks = {b"IHDR": header, b"IDAT": zlib.compress(rows.tobytes()), b"IEND": b""}
    path.write_bytes(SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks.items()))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

"""Image files of arrays."""

import struct
import zlib

import numpy as np
from PIL import Image


def save(path, values):
    """Write an array as a NumPy file or as a picture, by the suffix of the path, and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".png" and values.ndim == 3 and values.dtype == np.uint16:
        path.write_bytes(deep_png(values))
    else:
        Image.fromarray(values).save(path)
    return path


def deep_png(values):
    """Return a PNG file of RGB or RGBA with 16 bits, which Pillow does not write."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")

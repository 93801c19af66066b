"""Whether the colour profile of an image means other colours than sRGB; images are read without their profile."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image

VISIBLE = 8
"""Difference of an 8-bit value between two readings of a colour that counts."""


@lru_cache(maxsize=64)
def differs_from_srgb(profile: bytes, *, channels: int) -> bool:
    """Return whether a profile visibly changes colours on the way to sRGB; False for a profile that cannot be read.

    Args:
        profile: the ICC profile.
        channels: of the image, 1 for grey and 3 for red, green and blue.
    """
    steps = np.linspace(0, 255, 6).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * channels), -1).reshape(1, -1, channels)
    colours = Image.fromarray(grid[..., 0] if channels == 1 else grid)
    try:
        # Pillow may be built without its support of profiles.
        from PIL import ImageCms

        source, target = ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(colours, source, target, outputMode="RGB")
    except Exception:  # Damaged profiles raise exceptions of several types.
        return False
    difference = np.asarray(converted, dtype=np.int64) - np.asarray(colours.convert("RGB"), dtype=np.int64)
    return int(np.abs(difference).max()) > VISIBLE

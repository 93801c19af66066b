"""Colour profiles that mean other colours than sRGB are noticed."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from gcc.data.colour_profiles import differs_from_srgb
from gcc.data.inspection import describe_changes, inspect_images

# Primaries in XYZ under the illuminant D50.
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446))
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))


def matrix_profile(primaries, gamma=2.2):
    """Return an ICC profile of version 2 with three primaries and a gamma."""
    fixed = lambda *values: b"".join(struct.pack(">i", round(value * 65536)) for value in values)  # noqa: E731
    text = b"desc" + bytes(4) + struct.pack(">I", 2) + b"x\0" + bytes(79)
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)
    tags = {b"desc": text, b"cprt": b"text" + bytes(4) + b"x\0\0\0", b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)}
    for name, primary in zip((b"r", b"g", b"b"), primaries, strict=True):
        tags |= {name + b"XYZ": b"XYZ " + bytes(4) + fixed(*primary), name + b"TRC": curve}
    offset, table, body = 132 + 12 * len(tags), struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        content += bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content
    head = bytes(4) + struct.pack(">I", 0x02100000) + b"mntrRGB XYZ " + struct.pack(">6H", 2026, 1, 1, 0, 0, 0) + b"acsp" + bytes(28)
    head += fixed(0.9642, 1, 0.8249) + bytes(48)
    return struct.pack(">I", offset + len(body)) + head + table + body


@pytest.mark.parametrize(
    ("profile", "differs"),
    [
        (matrix_profile(ADOBE_RGB), True),
        (matrix_profile(SRGB, 1.0), True),
        (matrix_profile(SRGB), False),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(), False),
        (b"damaged", False),
    ],
)
def test_a_profile_of_other_colours_than_srgb_is_said_once_for_all_images(profile, differs, tmp_path):
    assert differs_from_srgb(profile, channels=3) == differs
    Image.fromarray(np.full((4, 4, 3), 99, np.uint8)).save(tmp_path / "photo.png", icc_profile=profile)
    texts = describe_changes(inspect_images([(tmp_path / "photo.png", 3)]))
    expected = "the image has a colour profile other than sRGB (such as Adobe RGB or Display P3), which is not applied"
    assert texts == [expected] * differs

"""What reading image files as 8-bit RGB drops is said, and nothing else is."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gcc.data.images import read_rgb
from gcc.data.inspection import describe_changes, describe_halves, describe_kept_size, describe_resizing, inspect_images
from tests.helpers.images import deep_png


def changes(*paths):
    return describe_changes(inspect_images((path, 3) for path in paths))


def gradient(top, shape=(16, 16)):
    return np.linspace(0, top, shape[0] * shape[1]).round().reshape(shape).astype(np.uint16)


@settings(max_examples=20, deadline=None)
@given(bits=st.integers(8, 16))
def test_bits_that_leave_few_levels_are_said_with_a_factor_that_mends_it(tmp_path_factory, bits):
    folder = tmp_path_factory.mktemp("bits")
    pixels = gradient((1 << bits) - 1)
    Image.fromarray(pixels).save(folder / "a.png")
    text, grey = changes(folder / "a.png")
    assert "more than 8 bits" in text and "one channel" in grey
    used = int((pixels >> 8).max()) + 1
    if bits == 16:
        assert "levels" not in text
        return
    assert f"{used} of 256 grey levels: multiply the pixels by {1 << (16 - bits)} first" in text
    Image.fromarray(pixels << (16 - bits)).save(folder / "b.png")
    assert np.asarray(read_rgb(folder / "b.png")).max() == 255
    assert "levels" not in changes(folder / "b.png")[0]


def test_deep_colour_is_said(tmp_path):
    (tmp_path / "deep.png").write_bytes(deep_png(np.stack([gradient(4095)] * 3, axis=-1)))
    (text,) = changes(tmp_path / "deep.png")
    assert text.startswith("the image has more than 8 bits") and "16 of 256 grey levels" in text
    (tmp_path / "full.png").write_bytes(deep_png(np.stack([gradient(65535)] * 3, axis=-1)))
    (text,) = changes(tmp_path / "full.png", tmp_path / "deep.png")
    assert text == "2 of 2 images have more than 8 bits per channel, of which the upper 8 are read"


def test_a_tiff_that_declares_12_bits_is_read_by_its_upper_8(tmp_path):
    pixels = gradient(4095, (4, 8))
    packed = np.zeros((4, 4, 3), np.uint8)
    first, second = pixels[:, ::2], pixels[:, 1::2]
    packed[..., 0], packed[..., 1], packed[..., 2] = first >> 4, ((first & 15) << 4) | (second >> 8), second & 255
    data = packed.tobytes()
    entries = [(256, 3, 8), (257, 3, 4), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 3, 4), (279, 4, len(data))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    (tmp_path / "a.tif").write_bytes(struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory + struct.pack("<I", 0))
    assert np.array_equal(np.asarray(read_rgb(tmp_path / "a.tif"))[..., 0], pixels >> 4)
    assert "levels" not in changes(tmp_path / "a.tif")[0]


def save(path, mode, **options):
    size = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 200, (5, 7, size), dtype=np.uint8)
    Image.frombytes(mode, (7, 5), pixels.tobytes()).save(path, **options)


@pytest.mark.parametrize(
    ("mode", "suffix", "texts"),
    [
        ("RGB", ".png", []),
        ("RGB", ".ppm", []),
        ("RGB", ".tif", []),
        ("CMYK", ".jpg", ["colours of another space (CMYK or Lab), which become RGB"]),
        ("LAB", ".tif", ["colours of another space (CMYK or Lab), which become RGB"]),
        ("RGBA", ".png", ["a channel beyond red, green and blue"]),
        ("RGBA", ".tif", ["a channel beyond red, green and blue"]),
        ("RGBX", ".tif", ["a channel beyond red, green and blue"]),
        ("LA", ".png", ["a channel beyond red, green and blue", "one channel"]),
        ("L", ".png", ["one channel"]),
        ("L", ".pgm", ["one channel"]),
    ],
)
def test_channels_that_are_not_read_are_said(tmp_path, mode, suffix, texts):
    save(tmp_path / f"a{suffix}", mode)
    found = changes(tmp_path / f"a{suffix}")
    assert len(found) == len(texts) and all(text in line for text, line in zip(texts, found, strict=True)), found


def test_an_opaque_alpha_channel_loses_nothing_and_frames_do(tmp_path):
    Image.new("RGBA", (3, 3), (1, 2, 3, 255)).save(tmp_path / "opaque.png")
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "pages.tif", save_all=True, append_images=frames[1:])
    (tmp_path / "damaged.png").write_bytes(b"no image")
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 9, 8, 7])
    palette.save(tmp_path / "palette.png", transparency=bytes([0, 128]))
    assert changes(tmp_path / "opaque.png") == []
    paths = [tmp_path / name for name in ("opaque.png", "pages.tif", "damaged.png", "palette.png")]
    assert changes(*paths) == [
        "1 of 3 images has a channel beyond red, green and blue (alpha or another band), which is not read",
        "1 of 3 images has more than one frame, of which the first is read",
    ]


def test_images_that_are_stretched_or_enlarged_are_counted_upright(tmp_path):
    for number, size in enumerate([(8, 8), (8, 6), (6, 8)]):
        Image.new("RGB", size).save(tmp_path / f"{number}.png")
    images = inspect_images((path, 3) for path in tmp_path.glob("*.png"))
    stretched = "2 of 3 images are not square and resized to 6x6, which changes the proportions"
    assert describe_resizing(images, (6, 6)) == [stretched]
    assert describe_resizing(images, (8, 8)) == [
        stretched.replace("6x6", "8x8"),
        "2 of 3 images are smaller than 8x8 and enlarged, which adds no detail",
    ]
    assert describe_resizing(inspect_images([(tmp_path / "0.png", 3)]), (8, 8)) == []
    halves = "each half (A or B) of 2 of 3 images is not square and resized to 6x6, which changes the proportions"
    assert describe_resizing(images, (6, 6), "each half (A or B) of ") == [halves]


@pytest.mark.parametrize(
    ("size", "texts"),
    [
        ((16, 16), ["`size=6` enlarges none of them"]),
        ((16, 12), ["`size=6` enlarges none of them"]),
        ((16, 4), ["`size=6x4` enlarges none of them"]),
        ((8, 8), []),
    ],
)
def test_the_size_that_enlarges_no_image_is_named_if_all_are_enlarged(tmp_path, size, texts):
    for number, size_of_image in enumerate([(8, 8), (8, 6), (6, 8)]):
        Image.new("RGB", size_of_image).save(tmp_path / f"{number}.png")
    assert describe_kept_size(inspect_images((path, 3) for path in tmp_path.glob("*.png")), size) == texts


def test_square_images_are_seldom_pairs(tmp_path):
    for name, size in (("square", (4, 8)), ("pair", (8, 8))):
        Image.new("RGB", size).save(tmp_path / f"{name}.png")
    square, pair = (inspect_images([(tmp_path / f"{name}.png", 3)]) for name in ("square", "pair"))
    (text,) = describe_halves(square, "each half (A or B) of ")
    assert text.startswith("all images are square: expected pairs")
    assert describe_halves([*square, *pair], "each half (A or B) of ") == describe_halves(square, "") == describe_halves([], "x") == []

"""Image files that are written: pictures, TIFF files and NumPy files."""

import numpy as np
import pytest
import torch

from gcc.data.images import kind_of, read_image, to_tensor
from gcc.data.writing import holds, kind_in, suffix_like, write_image
from gcc.errors import OutputError


@pytest.mark.parametrize(
    ("channels", "name", "kind", "value_range", "tolerance"),
    [
        (1, "a.png", None, None, 1 / 255),
        (4, "a.png", None, (0, 9), 1 / 255),
        (1, "a.png", "u2", None, 1 / 65535),
        (1, "a.png", "u2", (100, 4100), 1 / 4000),
        (3, "a.png", "u2", (0, 65535), 1 / 65535),
        (4, "a.PNG", "u2", (100, 4100), 1 / 4000),
        (3, "a.tif", None, None, 1 / 255),
        (1, "a.tif", "u2", (100, 4100), 1 / 4000),
        (3, "a.TIFF", "f4", (-5, 5), 1e-6),
        (2, "a.tif", "i2", (-1000, 3000), 1 / 4000),
        (7, "a.npy", None, None, 1e-6),
        (1, "a.npy", "u1", None, 1 / 255),
        (2, "a.npy", "f8", (0, 1e6), 1e-6),
    ],
)
def test_what_is_written_is_read_again(tmp_path, channels, name, kind, value_range, tolerance):
    image = torch.rand(channels, 6, 5) * 2 - 1
    kind = kind and np.dtype(kind)
    write_image(tmp_path / name, image, kind, value_range)
    again = to_tensor(read_image(tmp_path / name, channels, value_range))
    torch.testing.assert_close(again, image, rtol=0, atol=1.01 * tolerance)
    default = np.float32 if name == "a.npy" else np.uint8
    assert kind_of(tmp_path / name, channels, value_range) == (kind or default)


def test_values_beyond_the_range_and_the_type_are_clipped(tmp_path):
    write_image(tmp_path / "a.npy", torch.tensor([[[-3.0, -1, 0, 1, 3]]]), np.dtype(np.uint16), (-65535, 131070))
    assert np.load(tmp_path / "a.npy").tolist() == [[[0, 0, 32768, 65535, 65535]]]


def test_pictures_have_1_3_or_4_channels(tmp_path):
    with pytest.raises(OutputError, match="a.png: expected a suffix such as .npy, since it has 2 channels"):
        write_image(tmp_path / "a.png", torch.zeros(2, 4, 4))


def test_formats_that_pillow_only_reads_are_not_written(tmp_path):
    assert not any(holds(suffix, 3) for suffix in (".psd", ".cur", ".mpg", ".fits", ".h5", ".wmf", ".xyz", ""))
    assert all(holds(suffix, 3) for suffix in (".png", ".jpg", ".bmp", ".webp", ".gif", ".ico", ".tif", ".npy"))
    assert holds(".webp", 4) and not holds(".jpg", 4) and holds(".tiff", 5)
    with pytest.raises(OutputError, match="a.psd: expected a suffix such as .png"):
        write_image(tmp_path / "a.psd", torch.zeros(3, 4, 4))
    with pytest.raises(OutputError, match=r"a.webp: .*16383"):
        write_image(tmp_path / "a.webp", torch.zeros(3, 1, 16384))


@pytest.mark.parametrize(
    ("name", "kind", "channels", "suffix", "written"),
    [
        ("a.jpg", "u1", 3, ".png", "u1"),
        ("a.png", "u2", 1, ".png", "u2"),
        ("a.png", "u2", 3, ".png", "u2"),
        ("a.png", "u2", 2, ".npy", "u2"),
        ("a.jpg", "f4", 3, ".png", "u1"),
        ("a.png", "u1", 2, ".npy", "u1"),
        ("a.TIF", "f4", 9, ".tif", "f4"),
        ("a.npy", "f2", 3, ".npy", "f2"),
    ],
)
def test_the_format_is_kept_where_it_holds_the_image(tmp_path, name, kind, channels, suffix, written):
    assert suffix_like(tmp_path / name, channels) == suffix
    assert kind_in(suffix, np.dtype(kind), channels) == written


def test_pictures_with_8_bits_are_converted_once(tmp_path, monkeypatch):
    monkeypatch.setattr("gcc.data.writing.from_tensor", None)
    write_image(tmp_path / "a.png", torch.zeros(3, 4, 4))

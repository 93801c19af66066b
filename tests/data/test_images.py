import io
import os
import struct
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from gcc.data.images import entries, image_files, read_ids, read_rgb, resized, subfolders, to_image, to_tensor
from gcc.data.writing import write_image
from gcc.errors import DataError, OutputError

MODES = [("L", "png"), ("RGB", "jpg"), ("RGBA", "png"), ("LA", "png"), ("P", "png"), ("CMYK", "jpg"), ("1", "bmp"), ("I;16", "png")]
MODES += [("RGB", "webp"), ("RGB", "tiff"), ("CMYK", "tiff"), ("I;16", "tif")]


def refused(path, reason):
    with pytest.raises(DataError) as error:
        read_rgb(path)
    assert str(path) in str(error.value) and reason in str(error.value), error.value
    assert "\n" not in str(error.value)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(MODES), width=st.integers(1, 40), height=st.integers(1, 40))
def test_every_mode_becomes_rgb_of_the_same_size(tmp_path, kind, width, height):
    mode, suffix = kind
    path = tmp_path / f"image.{suffix}"
    Image.new(mode, (width, height)).save(path)
    image = read_rgb(path)
    assert image.mode == "RGB" and image.size == (width, height)
    tensor = to_tensor(image)
    assert tensor.shape == (3, height, width) and tensor.dtype == torch.float32 and tensor.is_contiguous()


def test_16_bit_grey_keeps_its_upper_byte(tmp_path):
    Image.fromarray(np.array([[0, 256, 65535, 33000]], dtype=np.uint16)).save(tmp_path / "grey.png")
    assert np.asarray(read_rgb(tmp_path / "grey.png"))[0, :, 0].tolist() == [0, 1, 255, 128]


def test_values_without_a_range_are_refused(tmp_path):
    Image.fromarray(np.array([[0.5, 2.0]], dtype=np.float32)).save(tmp_path / "float.tif")
    refused(tmp_path / "float.tif", "floating-point")
    Image.fromarray(np.array([[1, 100000]], dtype=np.int32)).save(tmp_path / "wide.tif")
    refused(tmp_path / "wide.tif", "beyond 16 bits")


def test_postscript_is_not_run_whatever_its_suffix(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "harmless.eps")
    (tmp_path / "harmless.eps").rename(tmp_path / "photo.png")
    refused(tmp_path / "photo.png", "PostScript")


def test_alpha_is_dropped(tmp_path):
    Image.new("RGBA", (2, 2), (10, 20, 30, 0)).save(tmp_path / "clear.png")
    assert read_rgb(tmp_path / "clear.png").getpixel((0, 0)) == (10, 20, 30)


def test_a_palette_with_transparency_reads_without_a_warning(tmp_path):
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, 9, 8, 7])
    image.save(tmp_path / "palette.png", transparency=bytes([0, 128]))
    assert read_rgb(tmp_path / "palette.png").getpixel((0, 0)) == (9, 8, 7)


def test_threads_that_read_images_leave_the_warnings_of_the_program_as_they_are(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "image.png")
    with warnings.catch_warnings():
        before = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(read_rgb, [tmp_path / "image.png"] * 200))
        assert warnings.filters == before


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "turned.jpg", exif=exif)
    assert read_rgb(tmp_path / "turned.jpg").size == (4, 8)


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    assert read_rgb(tmp_path / "moving.webp").getpixel((0, 0)) == (255, 0, 0)


def test_files_that_are_no_sound_images(tmp_path):
    refused(tmp_path / "absent.png", "no such file")
    (tmp_path / "empty.png").touch()
    refused(tmp_path / "empty.png", "empty")
    (tmp_path / "text.jpg").write_text("a text")
    refused(tmp_path / "text.jpg", "not an image of a known format")
    (tmp_path / "folder.png").mkdir()
    refused(tmp_path / "folder.png", "directory")
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(whole, "jpeg")
    (tmp_path / "half.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    refused(tmp_path / "half.jpg", "truncated")


NOBODY = 65534


@pytest.fixture
def nobody():
    """Be a user whom permissions bind: root reads everything."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    yield
    os.seteuid(before)


@pytest.fixture
def secret(tmp_path, monkeypatch):
    """An image that nobody may read, in a folder that everybody may enter: by a relative name, for what lies above may be closed."""
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o755)
    Image.new("RGB", (2, 2)).save("secret.png")
    Path("secret.png").chmod(0)
    return Path("secret.png")


def test_a_file_without_permission(secret, nobody):
    refused(secret, "ermission denied")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_a_decompression_bomb(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(60000, 60000))
    refused(tmp_path / "bomb.png", "pixels; make it smaller")


def test_an_image_without_pixels(tmp_path):
    (tmp_path / "none.png").write_bytes(png(0, 5))
    with pytest.raises(DataError, match=r"none\.png"):
        read_rgb(tmp_path / "none.png")


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), format=st.sampled_from(["png", "jpeg", "tiff", "webp", "bmp"]))
def test_damaged_bytes_give_an_image_or_a_data_error(tmp_path, data, format):
    whole = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 7), "red").save(whole, format, **({} if format == "bmp" else {"exif": exif}))
    damaged = bytearray(whole.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.png"
    path.write_bytes(damaged)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            assert read_rgb(path).mode == "RGB"
        except DataError as error:
            assert str(path) in str(error)


def test_label_ids(tmp_path):
    ids = np.array([[0, 33], [7, 255]], dtype=np.uint8)
    Image.fromarray(ids).save(tmp_path / "ids.png")
    assert read_ids(tmp_path / "ids.png").tolist() == ids.tolist()
    Image.new("RGB", (2, 2)).save(tmp_path / "colour.png")
    with pytest.raises(DataError, match=r"colour\.png.*label ids are 8-bit grey"):
        read_ids(tmp_path / "colour.png")


def test_listing_is_natural_and_leaves_out_what_is_no_image(tmp_path):
    for name in ("10.png", "2.PNG", "a.jpeg", ".hidden.png", "notes.txt", "b.TIFF", "1.webp", "c.ppm"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in image_files(tmp_path)] == ["1.webp", "2.PNG", "10.png", "a.jpeg", "b.TIFF", "c.ppm"]
    assert [path.name for path in subfolders(tmp_path)] == ["folder.png"]
    assert image_files(tmp_path / "absent") == entries(tmp_path / "notes.txt") == []


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    monkeypatch.setattr("pathlib.Path.iterdir", lambda path: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    with pytest.raises(DataError, match=f"cannot list the folder {tmp_path}: Permission denied"):
        entries(tmp_path)


def test_every_8_bit_value_survives_the_way_to_a_tensor_and_back():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    tensor = to_tensor(Image.fromarray(pixels))
    assert tensor.min() == -1 and tensor.max() == 1
    assert np.array_equal(np.asarray(to_image(tensor)), pixels)
    assert torch.equal(to_tensor(pixels[:, ::-1]), tensor.flip(2))


def test_values_out_of_range_are_clipped():
    assert np.asarray(to_image(torch.tensor([-3.0, 0.0, 9.0]).view(3, 1, 1))).tolist() == [[[0, 128, 255]]]


def test_resizing():
    image = Image.new("RGB", (8, 6), "red")
    assert resized(image, 8, 6) is image
    assert resized(image, 3, 5).size == (3, 5)


def test_writing(tmp_path):
    tensor = to_tensor(np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8))
    write_image(tmp_path / "image.png", tensor)
    assert torch.equal(to_tensor(read_rgb(tmp_path / "image.png")), tensor)
    with pytest.raises(OutputError, match=r"absent/image\.png: No such file"):
        write_image(tmp_path / "absent" / "image.png", tensor)
    with pytest.raises(OutputError, match=r"image\.what: expected a suffix"):
        write_image(tmp_path / "image.what", tensor)

"""TIFF files with any number of channels, of any type."""

import builtins
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gcc.data.images import kind_of, read_image, read_rgb, read_size, to_tensor
from gcc.data.tiff import write_tiff
from gcc.errors import DataError, GccError
from tests.helpers.images import save


def pixels(*shape, kind="u2"):
    values = np.random.default_rng(0).random(shape)
    return (values * np.iinfo(kind).max if np.dtype(kind).kind == "u" else values).astype(kind)


@pytest.fixture
def without_tifffile(monkeypatch):
    load = builtins.__import__

    def refuse(name, *arguments, **named):
        if name == "tifffile":
            raise ModuleNotFoundError("No module named 'tifffile'")
        return load(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)


@settings(max_examples=40, deadline=None)
@given(
    channels=st.sampled_from([1, 2, 4, 5, 13]),
    kind=st.sampled_from(["u1", "u2", "f4"]),
    layout=st.sampled_from(["contig", "separate", "pages"]),
    compression=st.sampled_from([None, "zlib"]),
    order=st.sampled_from("<>"),
)
def test_bands_are_read_as_from_numpy_files(tmp_path_factory, channels, kind, layout, compression, order):
    folder = tmp_path_factory.mktemp("tiff")
    values = pixels(channels, 9, 11, kind=kind)
    stored = values[0] if channels == 1 else values.transpose(1, 2, 0) if layout == "contig" else values
    planes = {} if channels == 1 or layout == "pages" else {"planarconfig": layout}
    tifffile.imwrite(folder / "a.tif", stored, photometric="minisblack", compression=compression, byteorder=order, **planes)
    expected = to_tensor(read_image(save(folder / "a.npy", values), channels))
    assert torch.equal(to_tensor(read_image(folder / "a.tif", channels)), expected)
    assert read_size(folder / "a.tif") == (11, 9) and kind_of(folder / "a.tif", channels, None) == np.dtype(kind)


@pytest.mark.parametrize(("channels", "kind"), [(1, "f4"), (1, "i2"), (3, "u2"), (3, "f4"), (5, "u1"), (5, "f8")])
def test_what_is_written_is_read_again(tmp_path, channels, kind):
    values = pixels(channels, 9, 11, kind="f8").astype(kind)
    write_tiff(tmp_path / "a.tif", values)
    stored = tifffile.imread(tmp_path / "a.tif")
    assert stored.dtype == kind and np.array_equal(stored, values[0] if channels == 1 else values.transpose(1, 2, 0))
    assert kind_of(tmp_path / "a.tif", channels, (0, 1)) == kind


def test_deep_colours_keep_their_bits_with_a_range_alone(tmp_path):
    values = pixels(9, 11, 3)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb")
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.tif", 3)), values >> 8)
    image = to_tensor(read_image(tmp_path / "a.tif", 3, (0, 65535)))
    torch.testing.assert_close(image, torch.from_numpy(values.transpose(2, 0, 1) / np.float32(32767.5) - 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        (pixels(5, 9, 11), {}, "expected 4 channels, in an image of mode RGBA or in a TIFF or NumPy file"),
        (pixels(9, 11, 4), {"photometric": "minisblack", "planarconfig": "contig", "extratags": [(274, "H", 1, 6, True)]}, "stored turned"),
        (
            pixels(9, 11, 4),
            {"photometric": "separated", "planarconfig": "contig"},
            "stores its colours as SEPARATED: expected grey, RGB or bands",
        ),
    ],
)
def test_other_files_are_refused(tmp_path, values, options, message):
    tifffile.imwrite(tmp_path / "a.tif", values, **{"photometric": "minisblack"} | options)
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / "a.tif", 4)


def test_other_compression_is_refused(tmp_path):
    Image.fromarray(pixels(9, 11, kind="f4")).save(tmp_path / "a.tif", compression="tiff_lzw")
    with pytest.raises(DataError, match=r"is compressed \(LZW\): install imagecodecs, or save it uncompressed"):
        read_image(tmp_path / "a.tif", 1)


def test_several_images_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for side in (4, 5):
            file.write(pixels(side, side, 5), photometric="minisblack", planarconfig="contig")
    with pytest.raises(DataError, match="holds 2 images: expected one"):
        read_image(tmp_path / "a.tif", 5)


def test_damaged_files_are_refused(tmp_path, recwarn, capfd):
    write_tiff(tmp_path / "a.tif", pixels(5, 9, 11))
    content = (tmp_path / "a.tif").read_bytes()
    for end in (0, 3, 4, 20, 100, len(content) - 40):
        (tmp_path / "a.tif").write_bytes(content[:end])
        with pytest.raises(DataError, match="cannot read the image"):
            read_image(tmp_path / "a.tif", 5)
    assert not [warning for warning in recwarn if "PIL" not in Path(warning.filename).parts] and not capfd.readouterr().err


def test_missing_parts_are_not_zeros(tmp_path):
    write_tiff(tmp_path / "a.tif", pixels(5, 9, 11))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages[0].tags["ImageLength"].overwrite(4000)
    with pytest.raises(DataError, match="parts of its pixels are missing"):
        read_image(tmp_path / "a.tif", 5)


def test_parts_that_inflate_beyond_their_size_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", pixels(9, 11, 5), photometric="minisblack", planarconfig="contig", compression="zlib")
    long = zlib.compress(bytes(1_000_000))
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        page = file.pages[0]
        end = file.filehandle.size
        file.filehandle.seek(end)
        file.filehandle.write(long)
        page.tags["StripOffsets"].overwrite(end)
        page.tags["StripByteCounts"].overwrite(len(long))
    with pytest.raises(DataError, match="missing or too long"):
        read_image(tmp_path / "a.tif", 5)


def test_other_files_that_metadata_name_are_not_read(tmp_path):
    tifffile.imwrite(tmp_path / "other.ome.tif", pixels(2, 9, 11), photometric="minisblack")
    description = (tmp_path / "other.ome.tif").read_bytes()
    assert b"OME" in description
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels(9, 11), photometric="minisblack", metadata={"axes": "YX"})
    with tifffile.TiffFile(tmp_path / "a.ome.tif", mode="r+") as file:
        text = (
            file.pages[0]
            .description.replace('SizeC="1"', 'SizeC="2"')
            .replace("</TiffData>", '</TiffData><TiffData IFD="0" FirstC="1"><UUID FileName="other.ome.tif">urn:uuid:0</UUID></TiffData>')
        )
        file.pages[0].tags["ImageDescription"].overwrite(text)
    with pytest.raises(DataError):
        read_image(tmp_path / "a.ome.tif", 2)


def test_large_images_are_refused_before_they_are_read(tmp_path, monkeypatch):
    write_tiff(tmp_path / "a.tif", pixels(5, 9, 11))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)
    with pytest.raises(DataError, match="more than 80 pixels"):
        read_image(tmp_path / "a.tif", 5)


def test_pictures_need_no_tifffile(tmp_path, without_tifffile):
    colours, grey = pixels(9, 11, 3, kind="u1"), pixels(9, 11)
    Image.fromarray(colours).save(tmp_path / "a.tif")
    Image.fromarray(grey).save(tmp_path / "b.tif")
    assert np.array_equal(np.asarray(read_image(tmp_path / "a.tif", 3)), np.asarray(read_rgb(tmp_path / "a.tif")))
    assert read_image(tmp_path / "b.tif", 1).size == (11, 9)
    Image.fromarray(pixels(9, 11, kind="f4")).save(tmp_path / "c.tif")
    with pytest.raises(GccError, match=r"c.tif, a TIFF file that Pillow does not read, needs tifffile: pip install 'gan-gcc\[tiff\]'"):
        read_image(tmp_path / "c.tif", 1)

"""Images with 1, 2, 4 and more channels: read from pictures and NumPy files, through every dataset, and written again."""

import os
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from gcc.data.aligned import Aligned
from gcc.data.bands import Bands
from gcc.data.celeba import CelebA
from gcc.data.cityscapes import Cityscapes
from gcc.data.images import image_files, images_below, read_image, read_rgb, read_size, resized, to_tensor
from gcc.data.inspection import describe_changes, inspect_images
from gcc.data.photographs import Photographs
from gcc.data.unaligned import Unaligned
from gcc.errors import DataError
from gcc.registry import DATASETS
from tests.helpers.channels import recipe_of
from tests.helpers.images import save


def pixels(*shape, kind=np.uint8):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, endpoint=True, dtype=kind)


def tensor(path, channels):
    return to_tensor(read_image(path, channels))


def test_grey_is_read_as_it_is_and_colours_as_luma(tmp_path):
    grey, colours = pixels(6, 5), pixels(6, 5, 3)
    assert torch.equal(tensor(save(tmp_path / "grey.png", grey), 1), torch.from_numpy(grey / np.float32(127.5) - np.float32(1))[None])
    luma = tensor(save(tmp_path / "colours.png", colours), 1)[0].numpy()
    assert np.abs((luma + 1) * 127.5 - colours @ [0.299, 0.587, 0.114]).max() < 1


def test_grey_keeps_sixteen_bits(tmp_path):
    deep = pixels(6, 5, kind=np.uint16)
    values = tensor(save(tmp_path / "deep.png", deep), 1)
    torch.testing.assert_close(values[0], torch.from_numpy(deep.astype(np.float32) / 32767.5 - 1), rtol=0, atol=1e-6)
    assert values.unique().numel() > 25


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_data(tmp_path, channels):
    values = pixels(8, 8, channels)
    values[..., -1] = 0
    path = save(tmp_path / "a.png", values)
    assert torch.equal(tensor(path, channels), torch.from_numpy(values.transpose(2, 0, 1) / np.float32(127.5) - np.float32(1)))
    smaller = to_tensor(resized(read_image(path, channels), 4, 4))
    single = to_tensor(resized(Bands([Image.fromarray(values[..., 0])]), 4, 4))
    assert torch.equal(smaller[:1], single) and bool((smaller[-1] == -1).all())


def test_three_channels_are_read_as_before(tmp_path):
    path = save(tmp_path / "a.png", pixels(6, 5, 4))
    assert np.array_equal(np.asarray(read_image(path, 3)), np.asarray(read_rgb(path)))


@pytest.mark.parametrize(
    ("shape", "channels", "message"),
    [
        ((4, 5, 3), 4, r"a.png: it has 3 channels \(RGB\): expected 4 channels, in an image of mode RGBA or in a TIFF or NumPy file"),
        ((4, 5), 2, r"a.png: it has 1 channel \(L\): expected 2 channels, in an image of mode LA or in a TIFF or NumPy file"),
        ((4, 5, 4), 5, r"a.png: it has 4 channels \(RGBA\): expected 5 channels, in a TIFF or NumPy file.*`input_nc` or `output_nc`"),
    ],
)
def test_other_channels_are_refused(tmp_path, shape, channels, message):
    with pytest.raises(DataError, match=message):
        read_image(save(tmp_path / "a.png", pixels(*shape)), channels)


def test_premultiplied_colours_are_refused(tmp_path):
    content = save(tmp_path / "a.tif", pixels(4, 4, 4)).read_bytes()
    tag = struct.pack("<HHIH", 338, 3, 1, 2)
    assert content.count(tag) == 1
    (tmp_path / "a.tif").write_bytes(content.replace(tag, struct.pack("<HHIH", 338, 3, 1, 1)))
    with pytest.raises(DataError, match="multiplied by alpha"):
        read_image(tmp_path / "a.tif", 4)


@settings(max_examples=30, deadline=None)
@given(channels=st.integers(1, 7), kind=st.sampled_from(["u1", "<u2", ">u2", "f2", "f4", "f8"]), last=st.booleans())
def test_numpy_files_have_any_channels(tmp_path_factory, channels, kind, last):
    path = tmp_path_factory.mktemp("array") / "a.npy"
    expected = np.random.default_rng(0).random((channels, 9, 11)) * 2 - 1
    top = {"u1": 255, "u2": 65535}.get(kind[-2:])
    values = expected if top is None else ((expected + 1) / 2 * top).round()
    values = values.astype(kind)
    save(path, values.transpose(1, 2, 0) if last else values)
    image = read_image(path, channels)
    assert image.size == read_size(path) == (11, 9)
    tolerance = {"u1": 1 / 255, "u2": 1 / 65535, "f2": 1e-3}.get(kind[-2:], 1e-6)
    torch.testing.assert_close(to_tensor(image), torch.from_numpy(expected).float(), rtol=0, atol=1.01 * tolerance)


@pytest.mark.parametrize(
    ("values", "channels", "message"),
    [
        (np.zeros((4, 5, 6), np.uint8), 3, r"the shape \(4, 5, 6\): expected 3 channels, \(H, W\), \(H, W, C\) or \(C, H, W\)"),
        (np.zeros((4, 5), np.uint8), 2, r"the shape \(4, 5\): expected 2 channels"),
        (np.zeros((4, 9, 4), np.uint8), 4, "may be the first or the last"),
        (np.zeros((4, 5), np.int16), 1, "type int16: expected uint8, uint16, or floating-point numbers from -1 to 1"),
        (np.full((4, 5), 2.0), 1, "values from 2 to 2: expected floating-point numbers from -1 to 1"),
        (np.full((4, 5), np.nan), 1, "values from nan to nan"),
        (np.zeros((0, 5)), 1, "cannot read the array|it is empty"),
        (np.array([{}], dtype=object), 1, "without Python objects"),
    ],
)
def test_other_arrays_are_refused(tmp_path, values, channels, message):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=message):
        read_image(tmp_path / "a.npy", channels)


def test_damaged_arrays_are_refused(tmp_path):
    path = save(tmp_path / "a.npy", np.zeros((4, 5), np.uint8))
    content = path.read_bytes()
    for damaged in (b"", b"no array", content[:60], content[:-3], content[:20] + b"(" + content[21:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot read the array"):
            read_image(path, 1)
    with pytest.raises(DataError, match="there is no such file"):
        read_image(tmp_path / "none.npy", 1)


def test_numpy_files_count_where_there_are_no_pictures(tmp_path):
    save(tmp_path / "a.npy", pixels(4, 4))
    assert image_files(tmp_path) == images_below(tmp_path) == [tmp_path / "a.npy"]
    save(tmp_path / "b.png", pixels(4, 4))
    assert image_files(tmp_path) == images_below(tmp_path) == [tmp_path / "b.png"]


def test_pairs_of_any_channels(tmp_path):
    for split in ("train", "test"):
        for number in range(2):
            save(tmp_path / f"A/{split}/{number}.npy", pixels(5, 40, 36, kind=np.uint16))
            save(tmp_path / f"B/{split}/{number}.png", pixels(40, 36))
    source = Aligned(tmp_path, "train", recipe_of("pix2pix", input_nc=5, output_nc=1))
    assert not source.check() and not describe_changes(source.inspect())
    sample = source.sample(0, np.random.default_rng(0))
    assert sample["A"].shape == (5, 32, 32) and sample["B"].shape == (1, 32, 32)
    assert Aligned(tmp_path, "train", recipe_of("pix2pix", input_nc=1, output_nc=5, direction="BtoA")).sample(0, None)["A"].shape[0] == 5
    with pytest.raises(DataError, match=r"0\.npy has the shape \(5, 40, 36\): expected 3 channels"):
        Aligned(tmp_path, "train", recipe_of("pix2pix")).sample(0, None)


def test_the_halves_of_an_image_may_have_other_channels(tmp_path):
    for number in range(2):
        save(tmp_path / f"train/{number}.png", pixels(32, 64, 3))
    grey, colours = (Aligned(tmp_path, "train", recipe_of("pix2pix", input_nc=nc)) for nc in (1, 3))
    sample, whole = grey.sample(0, None), colours.sample(0, None)
    assert sample["A"].shape == (1, 32, 32) and torch.equal(sample["B"], whole["B"])
    assert "1 of 2 images has colours, of which the luma is read" in describe_changes(grey.inspect())


def test_domains_of_any_channels(tmp_path):
    for split in ("train", "test"):
        for number in range(2):
            save(tmp_path / f"{split}A/{number}.npy", pixels(40, 36, 2))
            save(tmp_path / f"{split}B/inner/{number}.png", pixels(40, 36))
    source = Unaligned(tmp_path, "train", recipe_of("cyclegan", input_nc=2, output_nc=1, lambda_identity=0.0))
    assert not source.check()
    assert {key: tuple(image.shape) for key, image in source.sample(0, None).items()} == {"A": (2, 32, 32), "B": (1, 32, 32)}
    with pytest.raises(DataError, match="something other than RGB images, and only these can be cached"):
        source.cached(tmp_path / ".gcc")


def test_single_images_of_any_channels(tmp_path):
    for number in range(3):
        save(tmp_path / f"{number}.png", pixels(40, 36, 4))
    assert CelebA(tmp_path, "train", recipe_of("sagan", output_nc=4)).sample(0, None)["real"].shape == (4, 32, 32)
    large = Photographs(tmp_path, "train", recipe_of("srgan", output_nc=4))
    assert large.sample(0, None)["lr"].shape == (4, 10, 9) and large.preview(0)["hr"].shape == (4, 32, 32)


def test_rgb_keeps_its_identity_and_other_channels_have_another(tmp_path):
    save(tmp_path / "0.png", pixels(4, 4)), save(tmp_path / "1.png", pixels(4, 4))
    source, grey = (CelebA(tmp_path, "train", recipe_of("sagan", output_nc=nc)) for nc in (3, 1))
    assert source.identity != grey.identity
    del source.channels
    assert source.identity == CelebA(tmp_path, "train", recipe_of("sagan")).identity


def test_copies_have_the_content_digest_of_their_originals_and_an_identity_of_their_own(tmp_path):
    data, copy = tmp_path / "data", tmp_path / "copy"
    save(data / "0.png", pixels(4, 4)), save(data / "1.png", pixels(4, 4))
    for file in data.iterdir():
        save(copy / file.name, np.asarray(Image.open(file)))
        os.utime(copy / file.name, (1, 1))
    original, copied = (CelebA(folder, "train", recipe_of("sagan")) for folder in (data, copy))
    assert original.identity != copied.identity and original.content_digest == copied.content_digest
    (file,) = copied.files
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    assert original.content_digest != copied.content_digest
    file.unlink()
    with pytest.raises(DataError, match=r"cannot read .*\.png"):
        _ = copied.content_digest


@pytest.mark.parametrize("name", ["streets", "worlds", "portraits", "scenes"])
def test_demo_data_are_rgb_with_8_bits(name):
    with pytest.raises(DataError, match="demo data are RGB images: give `data`"):
        DATASETS.load(name)(None, "train", recipe_of("sagan", output_nc=1))
    with pytest.raises(DataError, match="demo data have 8 bits: give `data`, or leave `range` out"):
        DATASETS.load(name)(None, "train", recipe_of("sagan", range="0..1"))


def test_cityscapes_is_rgb(tmp_path):
    with pytest.raises(DataError, match="Cityscapes has RGB images: expected input_nc = 3"):
        Cityscapes(tmp_path, "train", recipe_of("pix2pix", input_nc=1))


def test_what_reading_as_grey_changes_is_said(tmp_path):
    deep, colours = save(tmp_path / "deep.png", pixels(4, 4, kind=np.uint16)), save(tmp_path / "colours.png", pixels(4, 4, 3))
    assert describe_changes(inspect_images([(deep, 1)])) == []
    assert describe_changes(inspect_images([(colours, 1)])) == ["the image has colours, of which the luma is read"]
    assert describe_changes(inspect_images([(save(tmp_path / "a.png", pixels(4, 4, 4)), 4)])) == []
    assert describe_changes(inspect_images([(save(tmp_path / "a.npy", pixels(4, 4, 5)), 5)])) == []

"""Images that are decoded once give the same samples, and only as long as they are what is on disk."""

import os
import pickle
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from gcc.data.aligned import Aligned
from gcc.data.cache import DecodedImages, is_whole, write_decoded
from gcc.data.cityscapes import Cityscapes
from gcc.data.images import read_rgb
from gcc.data.loader import _Samples
from gcc.data.open import open_source
from gcc.data.splits import STORE, DataSplits
from gcc.errors import DataError, OutputError
from gcc.registry import ARCHITECTURES
from gcc.training.teacher import Teacher
from tests.helpers.families import TINY
from tests.helpers.pairs import cityscapes, picture

FOLDERS = {
    "pix2pix": ("train", "val", "test"),
    "cyclegan": ("trainA", "trainB", "testA", "testB"),
    "sagan": (".",),
    "srgan": ("train", "test/Set5"),
}


def pictures(folder, count=3, width=66, height=40):
    """Write images of several formats and sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(number, width + 2 * number, height + number).save(folder / f"{number}.{('jpg', 'png')[number % 2]}")
    return folder


def splits(arch, root):
    architecture = Teacher.create(arch).architecture({**TINY[arch], "seed": 3})
    return DataSplits(architecture, root, None)


def same(one, other):
    assert len(one) == len(other) and one.identity == other.identity
    for index in range(len(one)):
        for seed in (None, 7):
            first, second = (source.sample(index, seed and np.random.default_rng(seed)) for source in (one, other))
            assert first.keys() == second.keys() and all(first[key].equal(second[key]) for key in first)
        assert all(value.equal(other.preview(index)[key]) for key, value in one.preview(index).items())


def pairs(root):
    pictures(root / "train")
    return opened(root)


def opened(root, size=16):
    return Aligned(root, "train", SimpleNamespace(size=size))


@pytest.mark.parametrize("arch", sorted(ARCHITECTURES.names()))
def test_every_family_reads_the_same_samples(arch, tmp_path):
    for folder in FOLDERS[arch]:
        pictures(tmp_path / folder)
    plain, cached = splits(arch, tmp_path), splits(arch, tmp_path)
    cached.cache()
    for split in ("train", "validation", "test"):
        one, other = getattr(plain, split), getattr(cached, split)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.cache_path is None and other.cache_path.is_relative_to(tmp_path / STORE)
            same(one, other)
    assert re.fullmatch(rf"[\d.]+ KB of decoded images in {tmp_path / STORE}", cached.summary(32)["cache"])
    assert "cache" not in plain.summary(32)


@pytest.mark.parametrize("layout", ["two folders", "cityscapes"])
def test_pairs_in_two_files(layout, tmp_path):
    if layout == "cityscapes":
        source = Cityscapes(cityscapes(tmp_path), "train", SimpleNamespace(size=16))
    else:
        pictures(tmp_path / "A/train"), pictures(tmp_path / "B/train")
        source = Aligned(tmp_path, "train", SimpleNamespace(size=16))
    same(source, source.cached(tmp_path / STORE))


def test_nothing_is_decoded_twice(tmp_path, monkeypatch):
    source = pairs(tmp_path)
    source.cached(tmp_path / STORE)
    monkeypatch.setattr("gcc.data.aligned.read_image", lambda path, channels: pytest.fail("decoded"))
    source.cached(tmp_path / STORE).sample(0, None)
    opened(tmp_path).cached(tmp_path / STORE).drop({0}).sample(0, None)


def test_files_of_equal_names_sizes_and_dates_in_other_splits_are_others(tmp_path):
    for number, split in enumerate(("train", "val", "test")):
        (tmp_path / split).mkdir()
        file = tmp_path / split / "0.bmp"
        picture(number, 32, 16).save(file)
        os.utime(file, ns=(1, 1))
    sources = {split: Aligned(tmp_path, split, SimpleNamespace(size=16)) for split in ("train", "val", "test")}
    assert len({source.identity for source in sources.values()}) == 3
    for source in sources.values():
        same(source, source.cached(tmp_path / STORE))


def test_a_folder_that_moves_keeps_its_pixels(tmp_path, monkeypatch):
    (tmp_path / "before").mkdir()
    source = pairs(tmp_path / "before")
    identity, path = source.identity, source.cached(tmp_path / "before" / STORE).cache_path
    (tmp_path / "before").rename(tmp_path / "after")
    monkeypatch.chdir(tmp_path)
    moved = opened(Path("after"))
    monkeypatch.setattr("gcc.data.image_files.write_decoded", lambda *_: pytest.fail("decoded"))
    assert moved.identity == identity and moved.cached(Path("after") / STORE).cache_path.name == path.name


@pytest.mark.parametrize("change", ["content", "date", "name"])
def test_a_file_that_changes_is_decoded_anew_and_its_old_pixels_go(change, tmp_path):
    before = pairs(tmp_path).cached(tmp_path / STORE).cache_path
    file = tmp_path / "train" / "1.png"
    if change == "content":
        picture(77, 68, 41).save(file)
    elif change == "date":
        os.utime(file, ns=(1, 1))
    else:
        file.rename(file.with_name("3.png"))
    decoded = opened(tmp_path).cached(tmp_path / STORE)
    same(opened(tmp_path), decoded)
    assert list((tmp_path / STORE).iterdir()) == [decoded.cache_path] != [before]


def test_the_folder_may_be_a_link_to_another_disk(tmp_path):
    (tmp_path / "scratch").mkdir()
    source = pairs(tmp_path / "data")
    (tmp_path / "data" / STORE).symlink_to(tmp_path / "scratch")
    first = source.cached(tmp_path / "data" / STORE)
    opened(tmp_path / "data", 32).cached(tmp_path / "data" / STORE)
    same(source, first)


def test_another_size_leaves_the_first_alone(tmp_path):
    one = pairs(tmp_path).cached(tmp_path / STORE).cache_path
    other = opened(tmp_path, 32).cached(tmp_path / STORE).cache_path
    assert one != other and is_whole(one) and is_whole(other)


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_noticed_and_mended(data, tmp_path):
    source = pairs(tmp_path)
    path = source.cached(tmp_path / STORE).cache_path
    sound = path.read_bytes()
    if data.draw(st.booleans()):
        path.write_bytes(sound[: data.draw(st.integers(0, len(sound) - 1))])
    else:
        offset = data.draw(st.integers(0, len(sound) - 1))
        path.write_bytes(sound[:offset] + bytes([sound[offset] ^ data.draw(st.integers(1, 255))]) + sound[offset + 1 :])
    assert not is_whole(path)
    same(source, source.cached(tmp_path / STORE))
    assert path.read_bytes() == sound


def test_what_is_killed_leaves_nothing_that_is_trusted(tmp_path, monkeypatch):
    source = pairs(tmp_path)
    monkeypatch.setattr("gcc.data.cache._pixels", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        source.cached(tmp_path / STORE)
    assert list((tmp_path / STORE).iterdir()) == []


def no_z(random):
    return None


# From Python 3.12 on, a fork of a process with threads warns; the worker processes use none.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("start", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_a_worker_maps_the_file_itself(start, tmp_path):
    pictures(tmp_path / "train", 40, 600, 400)
    source = open_source(tmp_path, "paired", "train", SimpleNamespace(size=16), "streets", "aligned").cached(tmp_path / STORE)
    plain = opened(tmp_path)
    source.sample(0, None)
    assert len(pickle.dumps(source)) < 20_000 < source.cache_path.stat().st_size
    keys = [(index, (5, index)) for index in range(4)]
    loader = DataLoader(_Samples(source, no_z), sampler=keys, batch_size=None, num_workers=1, multiprocessing_context=start)
    for (index, seed), sample in zip(keys, loader, strict=True):
        expected = plain.sample(index, np.random.default_rng(seed))
        assert all(sample[key].equal(expected[key]) for key in expected)


def test_a_file_that_is_replaced_meanwhile_is_not_read(tmp_path):
    source = pairs(tmp_path).cached(tmp_path / STORE)
    elsewhere = pickle.loads(pickle.dumps(source))
    path = source.cache_path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"decoded images .* have changed: start again"):
        elsewhere.sample(0, None)
    path.unlink()
    with pytest.raises(DataError, match="cannot read the decoded images"):
        pickle.loads(pickle.dumps(source)).sample(0, None)


def test_no_room_is_told_in_bytes_before_anything_is_written(tmp_path, monkeypatch):
    source = pairs(tmp_path)
    size = source.cached(tmp_path / STORE).cache_path.stat().st_size
    shutil.rmtree(tmp_path / STORE)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=size - 1))
    with pytest.raises(OutputError, match=rf"takes {size:,} bytes: {size - 1:,} are free; make room .*`cache`"):
        source.cached(tmp_path / STORE)
    assert list((tmp_path / STORE).iterdir()) == []


def test_a_folder_that_cannot_be_written_is_told_with_the_bytes_that_it_needs(tmp_path):
    source = pairs(tmp_path)
    (tmp_path / STORE).write_text("in the way")
    with pytest.raises(OutputError, match=r"takes [\d,]+ bytes: File exists; .* or leave `cache` out"):
        source.cached(tmp_path / STORE)


def test_what_is_whole_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    source = pairs(tmp_path)
    source.cached(tmp_path / STORE)
    monkeypatch.setattr("gcc.data.cache.replacing", lambda path: pytest.fail("written"))
    same(source, source.cached(tmp_path / STORE))


def test_an_image_that_changes_while_it_is_read(tmp_path):
    sizes = iter([(4, 4), (5, 4)])
    with pytest.raises(DataError, match="a has changed while it was read"):
        write_decoded(tmp_path / "decoded-x.rgb", ["a"], [], lambda entry: picture(0, *next(sizes)))
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_rgb_image_is_refused(tmp_path):
    with pytest.raises(DataError, match="something other than RGB images"):
        write_decoded(tmp_path / "decoded-x.rgb", ["a"], [], lambda entry: picture(0).convert("L"))


def test_generated_data_has_nothing_to_decode():
    with pytest.raises(DataError, match="needs no decoding: leave `cache` out"):
        splits("pix2pix", None).cache()


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=9))
def test_every_size_survives(sizes, tmp_path):
    images = [picture(seed, *size) for seed, size in enumerate(sizes)]
    for number, image in enumerate(images):
        image.save(tmp_path / f"{number}.png")
    files = [tmp_path / f"{number}.png" for number in range(len(images))]
    write_decoded(tmp_path / "decoded-x.rgb", files, files, read_rgb)
    decoded = DecodedImages(tmp_path / "decoded-x.rgb", files)
    for file, image in zip(files, images, strict=True):
        assert decoded.read(file).mode == "RGB" and np.array_equal(np.asarray(decoded.read(file)), np.asarray(image))

"""What trains, what chooses and what measures."""

import pytest
from PIL import Image

from gcc.data.splits import DataSplits, SplitOpener
from gcc.errors import DataError
from gcc.models.pix2pix import Pix2Pix
from gcc.recipe import changed
from gcc.registry import ARCHITECTURES


def architecture():
    return Pix2Pix(changed(Pix2Pix.demo(), {"size": 32}))


def pairs(root, **counts):
    for split, count in counts.items():
        (root / split).mkdir(parents=True)
        for number in range(count):
            Image.new("RGB", (64, 32), (number, 9, 9)).save(root / split / f"{number}.png")
    return root


@pytest.mark.parametrize(
    ("counts", "validates"),
    [({"train": 3, "val": 2, "test": 2}, True), ({"train": 3, "test": 2}, False), ({"train": 3, "val": 2}, False), ({"train": 12}, False)],
)
def test_what_chooses_is_never_what_measures(counts, validates, tmp_path):
    splits = DataSplits(architecture(), pairs(tmp_path, **counts), None)
    assert (splits.validation is not None) == validates
    assert ("2 to choose the best epoch" in splits.summary(32)["data"]) == validates


def test_images_in_folders_that_no_split_reads_are_told(tmp_path):
    root = pairs(tmp_path, train=3, validation=2, test=1)
    splits = DataSplits(architecture(), root, None)
    splits.check()
    assert "no split of this layout reads validation/ (2 images)" in splits.summary(32)["images"] and splits.is_lossy
    (root / "validation").rename(root / "val")
    splits = DataSplits(architecture(), root, None)
    splits.check()
    assert not splits.changes


def test_demo_data_has_all_three_and_no_store():
    splits = DataSplits(architecture(), None, None)
    assert splits.validation is not None and splits.store is None and "generated" in splits.name


def test_bad_images_of_every_split_are_refused_or_left_out_and_told(tmp_path):
    root = pairs(tmp_path, train=3, val=2, test=2)
    for split in ("train", "val", "test"):
        (root / split / "0.png").write_bytes(b"no image")
    with pytest.raises(
        DataError, match=r"3 samples cannot be used: .*train.0\.png.*val.0\.png.*test.0\.png.*`skip_bad=True` leaves bad images out"
    ):
        DataSplits(architecture(), root, None).check()
    splits = DataSplits(architecture(), root, None)
    splits.drop_unreadable()
    assert [len(source) for source in (splits.train, splits.validation, splits.test)] == [2, 1, 1]
    assert len(splits.left_out) == 3 and "0.png" in splits.summary(32)["left out"]
    (root / "val" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the 2 samples can be used: .*val.0\.png.*val.1\.png"):
        DataSplits(architecture(), root, None).drop_unreadable()


def test_of_many_bad_images_the_first_are_named_and_the_rest_is_counted(tmp_path):
    root = pairs(tmp_path, train=12, test=1)
    for path in (root / "train").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"12 samples cannot be used: .*9\.png[^;]*; and 2 more") as error:
        DataSplits(architecture(), root, None).check()
    assert str(error.value).count(".png") == 10


def test_what_tells_a_split_from_others_is_its_files_and_how_they_are_read(tmp_path):
    root = pairs(tmp_path, train=3, val=2, test=2)

    def identity(size=32):
        return DataSplits(Pix2Pix(changed(Pix2Pix.demo(), {"size": size})), root, None).test.identity

    before = identity()
    assert before and before == identity() != identity(64)
    Image.new("RGB", (64, 32), (77, 9, 9)).save(root / "test" / "2.png")
    assert identity() != before


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize(
    ("arch", "folders"),
    [
        ("pix2pix", lambda root, split: [root / split]),
        ("pix2pix", lambda root, split: [root / "A" / split, root / "B" / split]),
        ("cyclegan", lambda root, split: [root / f"{split}A", root / f"{split}B"]),
        ("srgan", lambda root, split: [root / split]),
    ],
)
def test_a_folder_may_lack_the_splits_that_are_not_opened(arch, folders, split, tmp_path):
    for folder in folders(tmp_path, split):
        folder.mkdir(parents=True)
        for number in range(3):
            Image.new("RGB", (64, 64), (number, 9, 9)).save(folder / f"{number}.png")
    family = ARCHITECTURES.load(arch)
    opener = SplitOpener(family(changed(family.demo(), {"size": 32})), tmp_path, None)
    source = opener.open(split)
    assert len(source) == 3 and not source.note and source.check() == []
    with pytest.raises(DataError, match="hold no images"):
        opener.open("train")


def test_small_images_are_told_with_their_size_unless_the_generator_fixes_it(tmp_path):
    root = pairs(tmp_path / "pairs", train=3, val=1, test=1)
    splits = DataSplits(Pix2Pix(changed(Pix2Pix.demo(), {"size": 64})), root, None)
    splits.check()
    enlarged = "each half (A or B) of 5 of 5 images is smaller than 64x64 and enlarged, which adds no detail"
    assert splits.changes == [enlarged, "`size=32` enlarges none of them"]
    family = ARCHITECTURES.load("sagan")
    splits = DataSplits(family(changed(family.demo(), {"size": 64})), root / "train", None)
    splits.check()
    assert "enlarged" in splits.changes[0] and len(splits.changes) == 1

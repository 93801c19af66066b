import numpy as np
import pytest
import torch
from PIL import Image

from gcc.data.aligned import Aligned
from gcc.data.images import to_tensor
from gcc.errors import DataError
from tests.helpers.pairs import number, picture, recipe, side_by_side


def two_folders(root, names=("1", "2"), splits=("train", "val", "test")):
    for side, suffix in (("A", "png"), ("B", "bmp")):
        for split in splits:
            (root / side / split).mkdir(parents=True)
            for name in names:
                picture(int(name) + ord(side)).save(root / side / split / f"{name}.{suffix}")
    return root


def numbers(source):
    return [number(source.sample(index, None)) for index in range(len(source))]


def test_side_by_side(tmp_path):
    source = Aligned(side_by_side(tmp_path, {"train": 12, "val": 2, "test": 3}), "train", recipe())
    assert Aligned.matches(tmp_path) and len(source) == 12 and source.note == ""
    sample = source.sample(11, None)
    assert sample["A"].shape == sample["B"].shape == (3, 16, 16)
    assert sample["A"][0].min() > 0.5 and sample["B"][2].min() > 0.5 and number(sample) == 11


def test_two_folders_whose_suffixes_differ(tmp_path):
    source = Aligned(two_folders(tmp_path), "train", recipe(20))
    assert Aligned.matches(tmp_path) and len(source) == 2
    assert torch.equal(source.sample(0, None)["A"], to_tensor(picture(1 + ord("A"))))
    assert torch.equal(source.sample(1, None)["B"], to_tensor(picture(2 + ord("B"))))


def test_side_by_side_images_go_before_what_they_were_made_of(tmp_path):
    two_folders(tmp_path)
    assert len(Aligned(side_by_side(tmp_path, {"train": 3, "val": 1}), "train", recipe())) == 3


def test_both_images_get_the_same_augmentation(tmp_path):
    (tmp_path / "train").mkdir()
    image = picture(0)
    both = Image.new("RGB", (40, 20))
    both.paste(image, (0, 0))
    both.paste(image, (20, 0))
    for name in "ab":
        both.save(tmp_path / "train" / f"{name}.png")
    source = Aligned(tmp_path, "train", recipe())
    samples = [source.sample(0, np.random.default_rng(seed)) for seed in range(8)]
    assert all(torch.equal(sample["A"], sample["B"]) for sample in samples)
    assert any(not torch.equal(sample["A"], samples[0]["A"]) for sample in samples)
    assert torch.equal(source.sample(0, np.random.default_rng(3))["A"], samples[3]["A"])


@pytest.mark.parametrize(("existing", "split", "held_out"), [("val", "test", "val serves as test"), ("test", "val", "test serves as val")])
def test_val_and_test_stand_in_for_each_other(tmp_path, existing, split, held_out):
    side_by_side(tmp_path, {"train": 5, existing: 3})
    source = Aligned(tmp_path, split, recipe())
    assert len(source) == 3 and held_out in source.note and str(tmp_path) in source.note
    assert Aligned(tmp_path, existing, recipe()).note == "" and len(Aligned(tmp_path, "train", recipe())) == 5


@pytest.mark.parametrize(("count", "indices"), [(2, [0]), (10, [0]), (21, [0, 10, 20])])
def test_every_tenth_image_is_held_out(tmp_path, count, indices):
    side_by_side(tmp_path, {"train": count})
    (tmp_path / "val").mkdir()
    train, val, test = (Aligned(tmp_path, split, recipe()) for split in ("train", "val", "test"))
    assert numbers(val) == numbers(test) == indices
    assert numbers(train) == [n for n in range(count) if n not in indices]
    assert f"every tenth training image serves as test ({len(indices)} of {count})" in test.note
    assert f"trains ({count - len(indices)} of {count})" in train.note


def test_a_single_image_cannot_be_split(tmp_path):
    with pytest.raises(DataError, match="a single training image"):
        Aligned(side_by_side(tmp_path, {"train": 1}), "train", recipe())


def test_other_layouts_are_described(tmp_path):
    (tmp_path / "photos").mkdir()
    picture(0).save(tmp_path / "photos" / "x.png")
    assert not Aligned.matches(tmp_path)
    with pytest.raises(DataError, match=r"holds photos/ \(1 image\): expected train/ .* or A/train/ and B/train/"):
        Aligned(tmp_path, "train", recipe())


def test_folders_without_images(tmp_path):
    two_folders(tmp_path, names=())
    with pytest.raises(DataError, match="hold no images"):
        Aligned(tmp_path, "train", recipe())


def test_a_pair_without_its_partner(tmp_path):
    two_folders(tmp_path, names=("1", "2", "3"))
    (tmp_path / "B" / "train" / "2.bmp").unlink()
    with pytest.raises(DataError, match=r"A/train/2\.png has no partner of the same name in .*B/train: add it"):
        Aligned(tmp_path, "train", recipe())
    (tmp_path / "A" / "train" / "1.png").unlink()
    with pytest.raises(DataError, match=r"A/train/2\.png has no partner .*; .*B/train/1\.\w+ has no partner of the same name in .*A/train"):
        Aligned(tmp_path, "train", recipe())


def test_two_images_of_one_name(tmp_path):
    two_folders(tmp_path)
    picture(0).save(tmp_path / "A" / "train" / "1.webp")
    with pytest.raises(DataError, match=r"1\.png and 1\.webp have the same name"):
        Aligned(tmp_path, "train", recipe())


def test_bad_images_are_named_when_read_and_when_checked(tmp_path):
    side_by_side(tmp_path, {"train": 4, "val": 1})
    picture(0, 41, 20).save(tmp_path / "train" / "1.png")
    (tmp_path / "train" / "3.png").write_bytes(b"")
    source = Aligned(tmp_path, "train", recipe())
    (odd, odd_reason), (empty, empty_reason) = source.check()
    assert (odd, empty) == (1, 3)
    assert f"{tmp_path / 'train' / '1.png'} is 41 pixels wide" in odd_reason and "even width" in odd_reason
    assert "3.png: the file is empty" in empty_reason
    with pytest.raises(DataError, match=r"train/1\.png is 41 pixels wide"):
        source.sample(1, None)


def test_pairs_of_different_sizes(tmp_path):
    two_folders(tmp_path)
    picture(0, 7, 9).save(tmp_path / "B" / "train" / "1.bmp")
    source = Aligned(tmp_path, "train", recipe())
    with pytest.raises(DataError, match=r"A/train/1\.png and .*B/train/1\.bmp are 20x20 and 7x9 pixels"):
        source.sample(0, None)
    assert [index for index, _ in source.check()] == [0]


def test_subfolders_are_read_after_the_images_above_them(tmp_path):
    side_by_side(tmp_path, {"train": 2, "test": 1})
    for name in ("city10", "city2", ".hidden"):
        (tmp_path / "train" / name / "deep").mkdir(parents=True)
        Image.new("RGB", (40, 20)).save(tmp_path / "train" / name / "deep" / "0.ppm")
    (tmp_path / "train" / "city2" / "back").symlink_to(tmp_path / "train")
    names = [str(path.relative_to(tmp_path / "train")) for path, _ in Aligned(tmp_path, "train", recipe()).files]
    assert names == ["0.png", "1.png", "city2/deep/0.ppm", "city10/deep/0.ppm"]


def test_partners_are_matched_in_their_subfolders(tmp_path):
    for side, suffix in (("A", "png"), ("B", "bmp")):
        for city in "xy":
            (tmp_path / side / "train" / city).mkdir(parents=True)
            for name in range(2):
                picture(name).save(tmp_path / side / "train" / city / f"{name}.{suffix}")
    files = [file for split in ("train", "test") for file in Aligned(tmp_path, split, recipe()).files]
    assert len(files) == 4
    assert all(a.relative_to(tmp_path / "A").with_suffix("") == b.relative_to(tmp_path / "B").with_suffix("") for a, b in files)


@pytest.mark.parametrize("names", [("A", "B"), ("input", "target")])
def test_two_folders_of_partners_below_train_are_not_side_by_side(tmp_path, names):
    for name in names:
        (tmp_path / "train" / name).mkdir(parents=True)
        for index in range(3):
            Image.new("RGB", (32, 24)).save(tmp_path / "train" / name / f"{index}.png")
    assert not Aligned.matches(tmp_path)
    with pytest.raises(DataError, match=r"which hold 6 images\): expected train/ .* or A/train/ and B/train/"):
        Aligned(tmp_path, "train", recipe())

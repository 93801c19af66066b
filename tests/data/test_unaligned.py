import numpy as np
import pytest
import torch
from PIL import Image

from gcc.data.images import to_tensor
from gcc.data.unaligned import Unaligned
from gcc.errors import DataError
from tests.helpers.pairs import picture, recipe

SIDES = {"A": (200, 0), "B": (0, 200)}


def folders(root, **counts):
    """Write images into the folders: A red and B blue, and their number in green."""
    for folder, count in counts.items():
        (root / folder).mkdir()
        red, blue = SIDES[folder[-1]]
        for number in range(count):
            Image.new("RGB", (20 + number, 12), (red, number, blue)).save(root / folder / f"{number}.png")
    return root


def numbers(sample):
    return tuple(round((sample[side][1, 0, 0].item() + 1) * 127.5) for side in "AB")


def drawn(source, side, draws=200):
    random = np.random.default_rng(0)
    return {numbers(source.sample(index % len(source), random))["AB".index(side)] for index in range(draws)}


def test_samples(tmp_path):
    source = Unaligned(folders(tmp_path, trainA=3, trainB=5, testA=2, testB=1), "train", recipe())
    assert Unaligned.matches(tmp_path) and source.note == "" and source.samples == "unpaired"
    sample = source.sample(4, None)
    assert sample["A"].shape == sample["B"].shape == (3, 16, 16)
    assert sample["A"][0].min() > 0.5 and sample["B"][2].min() > 0.5
    assert [numbers(source.sample(index, None)) for index in range(len(source))] == [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4)]
    assert [numbers(source.sample(index, np.random.default_rng(0)))[0] for index in range(5)] == [0, 1, 2, 0, 1]


def test_an_epoch_goes_through_the_larger_side(tmp_path):
    folders(tmp_path, trainA=7, trainB=2, valA=1, valB=3)
    assert [len(Unaligned(tmp_path, split, recipe())) for split in ("train", "val")] == [7, 3]


def test_any_b_is_drawn_and_a_seed_draws_it_again(tmp_path):
    source = Unaligned(folders(tmp_path, trainA=1, trainB=4, testA=1, testB=1), "train", recipe())
    assert drawn(source, "B") == {0, 1, 2, 3}
    first, again = (source.sample(0, np.random.default_rng(7)) for _ in range(2))
    assert all(first[side].equal(again[side]) for side in "AB")


def test_each_side_has_an_augmentation_of_its_own(tmp_path):
    folders(tmp_path, trainA=0, trainB=0, testA=1, testB=1)
    for side in "AB":
        picture(0).save(tmp_path / f"train{side}" / "x.png")
    source = Unaligned(tmp_path, "train", recipe(20))
    assert torch.equal(source.sample(0, None)["A"], to_tensor(picture(0)))
    assert any(not sample["A"].equal(sample["B"]) for sample in (source.sample(0, np.random.default_rng(seed)) for seed in range(4)))


@pytest.mark.parametrize(("existing", "split"), [("val", "test"), ("test", "val")])
def test_val_and_test_stand_in_for_each_other(tmp_path, existing, split):
    folders(tmp_path, trainA=2, trainB=2, **{f"{existing}A": 3, f"{existing}B": 4})
    source = Unaligned(tmp_path, split, recipe())
    assert len(source) == 4 and source.note == f"{tmp_path} has no {split} images: {existing} serves as {split} (3 and 4 images)"
    assert Unaligned(tmp_path, existing, recipe()).note == ""


def test_every_tenth_image_of_each_side_is_held_out(tmp_path):
    folders(tmp_path, trainA=12, trainB=3)
    train, val, test = (Unaligned(tmp_path, split, recipe()) for split in ("train", "val", "test"))
    assert [numbers(val.sample(index, None)) for index in range(len(val))] == [(0, 0), (10, 0)]
    assert val.files == test.files and len(train) == 10
    assert drawn(train, "A") == {1, 2, 3, 4, 5, 6, 7, 8, 9, 11} and drawn(train, "B") == {1, 2}
    assert test.note.endswith("every tenth training image serves as test (2 and 1 of 12 and 3)")
    assert train.note.endswith("all but every tenth training image trains (10 and 2 of 12 and 3)")


def test_bad_images_are_left_out_on_their_own_side(tmp_path):
    folders(tmp_path, trainA=3, trainB=4, testA=1, testB=1)
    for bad in ("trainA/1.png", "trainB/0.png", "trainB/2.png"):
        (tmp_path / bad).write_bytes(b"")
    source = Unaligned(tmp_path, "train", recipe())
    faults = source.check()
    assert [number for number, _ in faults] == [1, 3, 5] and "trainB/0.png: the file is empty" in faults[1][1]
    rest = source.drop({number for number, _ in faults})
    assert rest.check() == [] and len(rest) == 2 and len(source) == 4
    assert drawn(rest, "A") == {0, 2} and drawn(rest, "B") == {1, 3}


@pytest.mark.parametrize(("bad", "message"), [({0, 1}, "none of the 2 images of A"), ({2, 3, 4}, "none of the 3 images of B")])
def test_a_side_without_a_sound_image(tmp_path, bad, message):
    source = Unaligned(folders(tmp_path, trainA=2, trainB=3, testA=1, testB=1), "train", recipe())
    with pytest.raises(DataError, match=message):
        source.drop(bad)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"trainA": 1}, r"holds trainA/ \(1 image\): expected trainA/ and trainB/ with images"),
        ({"trainA": 0, "trainB": 0}, "train folders of .* hold no images"),
        ({"trainA": 0, "trainB": 3}, r"trainB has images \(3\), but .*trainA has none: add images"),
        ({"trainA": 2, "trainB": 2, "testA": 2}, r"testA has images \(2\), but .*testB has none"),
        ({"trainA": 5, "trainB": 1}, "trainB holds a single training image"),
    ],
)
def test_folders_that_do_not_fit(tmp_path, counts, message):
    with pytest.raises(DataError, match=message):
        Unaligned(folders(tmp_path, **counts), "train", recipe())


def test_subfolders_are_read(tmp_path):
    for side in "AB":
        for city in ("city1", "city2"):
            folder = tmp_path / f"train{side}" / city
            folder.mkdir(parents=True)
            for number in range(3):
                Image.new("RGB", (20, 12)).save(folder / f"{number}.ppm")
    train, test = (Unaligned(tmp_path, split, recipe()) for split in ("train", "test"))
    assert (train.first_b, len(train.files), test.first_b, len(test.files)) == (5, 10, 1, 2)
    assert not train.check()


def test_files_that_are_not_read_are_named_with_the_suffixes_that_are(tmp_path):
    for side in "AB":
        (tmp_path / f"train{side}" / "scans").mkdir(parents=True)
        (tmp_path / f"train{side}" / "scans" / "0.mat").touch()
    with pytest.raises(DataError, match=r"trainA/ \(with scans/, but 1 \.mat\), .*suffixes \.bmp, .*\.ppm"):
        Unaligned(tmp_path, "train", recipe())

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from gcc.data.images import BICUBIC, to_tensor
from gcc.data.photographs import Photographs
from gcc.errors import DataError, RecipeError
from tests.helpers.pairs import picture


def recipe(size=16, scale=4):
    return SimpleNamespace(size=size, scale=scale)


def photographs(folder, count=3, width=30, height=21):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        picture(number, width, height).save(folder / f"{number}.png")
    return folder


def names(source):
    return [f"{path.parent.name}/{path.stem}" for path, _ in source.files]


def shrunk(hr, scale):
    pixels = Image.fromarray(((hr + 1) * 127.5).round().permute(1, 2, 0).numpy().astype(np.uint8))
    return to_tensor(pixels.resize((pixels.width // scale, pixels.height // scale), BICUBIC))


@pytest.mark.parametrize("scale", [2, 4, 8])
def test_training_samples_are_crops_at_every_place(tmp_path, scale):
    photographs(tmp_path / "train", 1, 18, 17)
    photographs(tmp_path / "test", 1)
    source, whole = Photographs(tmp_path, "train", recipe(16, scale)), to_tensor(picture(0, 18, 17))
    crops = {(top, left): whole[:, top : top + 16, left : left + 16] for top in range(2) for left in range(3)}
    drawn = set()
    for seed in range(60):
        sample = source.sample(0, np.random.default_rng(seed))
        assert sample["lr"].shape == (3, 16 // scale, 16 // scale) and torch.equal(sample["lr"], shrunk(sample["hr"], scale))
        (corner,) = [corner for corner, crop in crops.items() if torch.equal(sample["hr"], crop)]
        drawn.add(corner)
    assert drawn == set(crops)


def test_test_samples_are_whole_images(tmp_path):
    photographs(photographs(tmp_path / "train").parent / "test")
    source, whole = Photographs(tmp_path, "test", recipe()), to_tensor(picture(1, 30, 21))
    sample, shown = source.sample(1, None), source.preview(1)
    assert torch.equal(sample["hr"], whole[:, :20, :28]) and torch.equal(sample["lr"], shrunk(sample["hr"], 4)) and not source.uniform
    assert torch.equal(shown["hr"], whole[:, 2:18, 7:23]) and torch.equal(shown["lr"], shrunk(shown["hr"], 4))


def test_a_small_test_image_is_shown_on_black(tmp_path):
    photographs(photographs(tmp_path / "train").parent / "test", 1, 12, 40)
    source = Photographs(tmp_path, "test", recipe())
    assert source.check() == [] and source.sample(0, None)["hr"].shape == (3, 40, 12)
    shown = source.preview(0)["hr"]
    assert (
        shown.shape == (3, 16, 16)
        and (shown[..., :2] == -1).all()
        and torch.equal(shown[..., 2:14], source.sample(0, None)["hr"][:, 12:28])
    )


@pytest.mark.parametrize("train", ["train", "train2014", "train2017", "DIV2K_train_HR", "."])
@pytest.mark.parametrize("val", ["val", "val2014", "val2017", "DIV2K_valid_HR"])
def test_folders_of_known_data_sets(tmp_path, train, val):
    photographs(tmp_path / train, 4)
    photographs(tmp_path / val, 2)
    assert Photographs.matches(tmp_path)
    assert [len(Photographs(tmp_path, split, recipe())) for split in ("train", "val", "test")] == [4, 2, 2]
    assert "val serves as test (2 images)" in Photographs(tmp_path, "test", recipe()).note


def test_training_images_may_lie_in_subfolders(tmp_path):
    photographs(tmp_path / "train" / "one", 2)
    photographs(tmp_path / "train" / "two" / "deep", 1)
    photographs(tmp_path / "test", 1)
    assert names(Photographs(tmp_path, "train", recipe())) == ["one/0", "one/1", "deep/0"]


def test_named_test_sets(tmp_path):
    photographs(tmp_path, 2)
    for name, count in (("Set14", 2), ("Set5", 1)):
        photographs(tmp_path / "test" / name, count)
    source = Photographs(tmp_path, "test", recipe())
    assert [source.subset(index) for index in range(len(source))] == ["Set5", "Set14", "Set14"] and source.note == ""
    assert source.drop({0}).subset(0) == "Set14" and Photographs(tmp_path, "train", recipe()).subset(0) == ""
    assert "test serves as val (3 images)" in Photographs(tmp_path, "val", recipe()).note


def test_every_tenth_image_is_held_out(tmp_path):
    train, val = (Photographs(photographs(tmp_path / "train", 12), split, recipe()) for split in ("train", "val"))
    assert names(val) == ["train/0", "train/10"] and set(names(train)).isdisjoint(names(val)) and len(train) == 10
    assert "every tenth training image serves as val (2 of 12)" in val.note and "trains (10 of 12)" in train.note


def test_images_smaller_than_the_crop(tmp_path):
    photographs(tmp_path / "train")
    photographs(tmp_path / "val", 1)
    picture(0, 15, 40).save(tmp_path / "train" / "1.png")
    Image.new("L", (16, 16), 255).save(tmp_path / "train" / "2.png")
    source = Photographs(tmp_path, "train", recipe())
    ((bad, reason),) = source.check()
    assert bad == 1 and reason.startswith(f"{tmp_path / 'train' / '1.png'} is 15x40 pixels: expected at least 16x16; remove it")
    with pytest.raises(DataError, match="15x40"):
        source.sample(1, np.random.default_rng(0))
    assert (source.drop({1}).sample(1, np.random.default_rng(0))["hr"] == 1).all()


def test_other_layouts_are_described(tmp_path):
    photographs(tmp_path / "pictures", 1)
    assert not Photographs.matches(tmp_path)
    with pytest.raises(DataError, match=r"holds pictures/ \(1 image\): expected images in train/, .*or directly inside"):
        Photographs(tmp_path, "train", recipe())


@pytest.mark.parametrize(
    ("bad", "message"), [(SimpleNamespace(size=16), "has no scale"), (recipe(18), "size=18 is not a multiple of scale=4")]
)
def test_recipes_that_do_not_fit(tmp_path, bad, message):
    with pytest.raises(RecipeError, match=message):
        Photographs(photographs(tmp_path), "train", bad)

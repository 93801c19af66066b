import numpy as np
import pytest
import torch
from PIL import Image

from gcc.data.aligned import Aligned
from gcc.data.cityscapes import LABELS, TRAIN_IDS, Cityscapes
from gcc.errors import DataError
from tests.helpers.channels import recipe_of
from tests.helpers.pairs import cityscapes, ids, recipe


def test_the_label_table():
    assert len(LABELS) == 34
    names = [name for name, _ in LABELS]
    assert [names.index(name) for name in ("road", "building", "sky", "person", "car", "bicycle")] == [7, 11, 23, 24, 26, 33]


def test_colours_and_ids_give_the_same_samples(tmp_path):
    coloured = Cityscapes(cityscapes(tmp_path / "a", label_ids=False), "train", recipe(16))
    numbered = Cityscapes(cityscapes(tmp_path / "b", colours=False), "train", recipe(16))
    assert len(coloured) == len(numbered) == 3
    for index in range(3):
        for random in (None, 7):
            one, other = (source.sample(index, random and np.random.default_rng(random)) for source in (coloured, numbered))
            assert one["A"].equal(other["A"]) and one["B"].equal(other["B"]) and one["A"].shape == (3, 16, 16)


def test_labels_keep_their_colours(tmp_path):
    source = Cityscapes(cityscapes(tmp_path), "train", recipe(24))
    pixels = ((source.sample(0, np.random.default_rng(0))["A"] + 1) * 127.5).round().permute(1, 2, 0).reshape(-1, 3)
    assert {tuple(pixel) for pixel in pixels.int().tolist()} <= {colour for _, colour in LABELS}


def test_val_serves_as_test(tmp_path):
    cityscapes(tmp_path)
    assert Cityscapes(tmp_path, "val", recipe()).note == ""
    source = Cityscapes(tmp_path, "test", recipe())
    assert len(source) == 1 and "val serves as test" in source.note


def test_it_alone_recognises_cityscapes(tmp_path):
    cityscapes(tmp_path)
    assert Cityscapes.matches(tmp_path) and not Aligned.matches(tmp_path)
    assert not Cityscapes.matches(tmp_path / "gtFine")
    contents = r"holds train/ \(with aachen/, bonn/, which hold 6 images\), val/ \(with ulm/, which hold 2 images\)"
    with pytest.raises(DataError, match=f"{contents}: expected gtFine/ and leftImg8bit/"):
        Cityscapes(tmp_path / "gtFine", "train", recipe())


def test_a_range_is_refused(tmp_path):
    with pytest.raises(DataError, match="Cityscapes has 8 bits: leave `range` out"):
        Cityscapes(cityscapes(tmp_path), "train", recipe_of("pix2pix", range="0..4095"))


def test_missing_partners(tmp_path):
    cityscapes(tmp_path)
    (tmp_path / "leftImg8bit/train/bonn/bonn_000000_leftImg8bit.png").unlink()
    with pytest.raises(
        DataError, match=r"gtFine/train/bonn/bonn_000000_gtFine_color\.png has no photograph .*bonn_000000_leftImg8bit\.png"
    ):
        Cityscapes(tmp_path, "train", recipe())
    for ending in ("color", "labelIds"):
        (tmp_path / f"gtFine/val/ulm/ulm_000000_gtFine_{ending}.png").unlink()
    with pytest.raises(DataError, match=r"ulm_000000_leftImg8bit\.png has no label map .*ulm_000000_gtFine_color\.png"):
        Cityscapes(tmp_path, "val", recipe())


def test_a_split_without_images(tmp_path):
    for kind in ("gtFine", "leftImg8bit"):
        (tmp_path / kind / "train").mkdir(parents=True)
    with pytest.raises(DataError, match=f"{tmp_path} has no train images"):
        Cityscapes(tmp_path, "train", recipe())


def test_an_unknown_label_id_is_named(tmp_path):
    cityscapes(tmp_path, colours=False)
    path = tmp_path / "gtFine/train/aachen/aachen_000002_gtFine_labelIds.png"
    Image.new("L", (32, 16), 34).save(path)
    assert Cityscapes(tmp_path, "train", recipe()).check() == [(1, f"{path} contains the label id 34: Cityscapes' ids go from 0 to 33")]


def test_samples_that_are_not_augmented_have_their_train_ids(tmp_path):
    sample = Cityscapes(cityscapes(tmp_path), "train", recipe()).sample(1, None)
    expected = [[TRAIN_IDS.index(label) if label in TRAIN_IDS else 255 for label in row] for row in ids(1).tolist()]
    assert sample["labels"].tolist() == expected and sample["labels"].dtype == torch.int64
    assert "labels" not in Cityscapes(tmp_path, "train", recipe()).sample(1, np.random.default_rng(0))


def test_the_evaluated_classes():
    names = [LABELS[number][0] for number in TRAIN_IDS]
    assert names[:3] == ["road", "sidewalk", "building"] and names[-3:] == ["train", "motorcycle", "bicycle"] and len(names) == 19


def test_prepared_train_ids_serve_too(tmp_path):
    plain = Cityscapes(cityscapes(tmp_path), "train", recipe()).sample(0, None)["labels"]
    for path in tmp_path.glob("gtFine/*/*/*_labelIds.png"):
        source = Cityscapes(tmp_path, path.parts[-3], recipe())
        (index,) = [number for number, frame in enumerate(source.files) if frame.ids == path]
        train_ids = source.sample(index, None)["labels"].numpy().astype(np.uint8)
        Image.fromarray(train_ids).save(path.with_name(path.name.replace("labelIds", "labelTrainIds")))
    for path in tmp_path.glob("gtFine/*/*/*_labelIds.png"):
        path.unlink()
    source = Cityscapes(tmp_path, "train", recipe())
    assert source.sample(0, None)["labels"].equal(plain) and source.check() == []
    wrong = tmp_path / "gtFine/train/aachen/aachen_000001_gtFine_labelTrainIds.png"
    Image.new("L", (32, 16), 19).save(wrong)
    assert source.check() == [(0, f"{wrong} contains the train id 19: expected 0 to 18, or 255 for pixels to ignore")]


def test_without_the_ids_of_every_frame_there_are_no_labels(tmp_path):
    cityscapes(tmp_path)
    (tmp_path / "gtFine/train/aachen/aachen_000001_gtFine_labelIds.png").unlink()
    source = Cityscapes(tmp_path, "train", recipe())
    assert not any("labels" in source.sample(index, None) for index in range(3))

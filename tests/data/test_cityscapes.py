import numpy as np
import pytest
from pairs import picture, recipe
from PIL import Image

from gcc.data.aligned import Aligned
from gcc.data.cityscapes import LABELS, Cityscapes
from gcc.errors import DataError

COLOURS = np.array([colour for _, colour in LABELS], dtype=np.uint8)


def ids(seed):
    return np.random.default_rng(seed).integers(0, len(LABELS), (16, 32), dtype=np.uint8)


def cityscapes(root, colours=True, label_ids=True):
    for split, frames in {
        "train": ("aachen/aachen_000001", "aachen/aachen_000002", "bonn/bonn_000000"),
        "val": ("ulm/ulm_000000",),
    }.items():
        for seed, frame in enumerate(frames):
            labels, photo = root / "gtFine" / split / frame, root / "leftImg8bit" / split / frame
            labels.parent.mkdir(parents=True, exist_ok=True)
            photo.parent.mkdir(parents=True, exist_ok=True)
            picture(seed, 32, 16).save(f"{photo}_leftImg8bit.png")
            if label_ids:
                Image.fromarray(ids(seed)).save(f"{labels}_gtFine_labelIds.png")
            if colours:
                Image.fromarray(COLOURS[ids(seed)]).convert("RGBA").save(f"{labels}_gtFine_color.png")
    return root


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
    assert Cityscapes.recognises(tmp_path) and not Aligned.recognises(tmp_path)
    assert not Cityscapes.recognises(tmp_path / "gtFine")
    with pytest.raises(DataError, match=r"holds train/ \(with aachen/, bonn/\), val/ \(with ulm/\): expected gtFine/ and leftImg8bit/"):
        Cityscapes(tmp_path / "gtFine", "train", recipe())


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
    assert Cityscapes(tmp_path, "train", recipe()).check() == [(1, f"{path} holds the label id 34: Cityscapes' ids go from 0 to 33")]

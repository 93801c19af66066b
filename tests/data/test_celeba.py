import numpy as np
import pytest
import torch
from PIL import Image

from gcc.data.celeba import CelebA
from gcc.errors import DataError
from tests.helpers.pairs import picture, recipe


def faces(folder, count):
    """Write `count` small images of one colour, with their number in red."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.new("RGB", (6, 8), (number, 100, 200)).save(folder / f"{number:06}.png")
    return folder


def twice(folder, image):
    for name in "ab":
        image.save(folder / f"{name}.png")
    return folder


def first(root, size):
    return CelebA(root, "train", recipe(size)).sample(0, None)["real"]


def numbers(source):
    return [round((source.sample(index, None)["real"][0, 0, 0].item() + 1) * 127.5) for index in range(len(source))]


def test_the_crop_is_the_middle_160_by_160_pixels(tmp_path):
    real = first(twice(tmp_path, picture(3, 178, 218)), 160)
    pixels = np.asarray(picture(3, 178, 218), dtype=np.float64)[29:189, 9:169]
    assert real.dtype == torch.float32 and np.allclose(real.numpy(), pixels.transpose(2, 0, 1) / 127.5 - 1, atol=1e-6)


def test_shrinking_is_the_bilinear_filter_over_whole_pixels(tmp_path):
    """From 160 to 40 pixels every new one is a tent of 8 old ones, written out from the definition of the filter."""
    real = first(twice(tmp_path, picture(4, 178, 218)), 40).numpy()
    pixels = np.asarray(picture(4, 178, 218), dtype=np.float64)[29:189, 9:169]
    tent = np.array([1, 3, 5, 7, 7, 5, 3, 1]) / 32
    for row, column in ((1, 1), (7, 20), (38, 30)):
        patch = pixels[4 * row - 2 : 4 * row + 6, 4 * column - 2 : 4 * column + 6]
        expected = np.einsum("i,j,ijc->c", tent, tent, patch) / 127.5 - 1
        assert np.allclose(real[:, row, column], expected, atol=2 / 127.5)


@pytest.mark.parametrize(
    ("width", "height", "box"), [(20, 20, (0, 0, 20, 20)), (21, 30, (0, 4, 21, 25)), (300, 12, (144, 0, 156, 12)), (1, 1, (0, 0, 1, 1))]
)
def test_smaller_images_give_their_largest_centred_square(tmp_path, width, height, box):
    real = first(twice(tmp_path, picture(5, width, height)), box[2] - box[0]).numpy()
    expected = np.asarray(picture(5, width, height).crop(box), dtype=np.float64).transpose(2, 0, 1) / 127.5 - 1
    assert np.allclose(real, expected, atol=1e-6)
    assert first(tmp_path, 33).shape == (3, 33, 33)
    assert CelebA(tmp_path, "train", recipe(33)).inspect()[0].size == (box[2] - box[0], box[3] - box[1])


@pytest.mark.parametrize("folder_name", ["", "img_align_celeba", "celeba/img_align_celeba"])
def test_the_layouts_and_what_is_ignored_beside_them(tmp_path, folder_name):
    folder = faces(tmp_path / folder_name, 12)
    for name in ("list_attr_celeba.txt", "list_bbox_celeba.csv", "list_eval_partition.txt", "._000001.png"):
        (folder / name).write_text("x")
        (folder.parent / name).write_text("x")
    assert CelebA.matches(tmp_path)
    train = CelebA(tmp_path, "train", recipe(4))
    assert len(train) == 10 and train.check() == [] and train.sample(0, None)["real"].shape == (3, 4, 4)


def test_a_preview_beside_the_folder_of_celeba_is_no_sample(tmp_path):
    faces(tmp_path / "img_align_celeba", 4)
    picture(0).save(tmp_path / "preview.png")
    assert len(CelebA(tmp_path, "train", recipe())) == 3


@pytest.mark.parametrize(("count", "indices"), [(2, [0]), (10, [0]), (21, [0, 10, 20])])
def test_every_tenth_image_is_held_out(tmp_path, count, indices):
    train, val, test = (CelebA(faces(tmp_path, count), split, recipe(4)) for split in ("train", "val", "test"))
    assert numbers(val) == numbers(test) == indices and numbers(train) == [n for n in range(count) if n not in indices]
    assert f"every tenth training image serves as test ({len(indices)} of {count})" in test.note and str(tmp_path) in test.note
    assert f"all but every tenth training image trains ({count - len(indices)} of {count})" in train.note


def test_nothing_is_augmented(tmp_path):
    source = CelebA(faces(tmp_path, 3), "train", recipe())
    assert all(source.sample(1, np.random.default_rng(seed))["real"].equal(source.sample(1, None)["real"]) for seed in range(6))


@pytest.mark.parametrize("other", ["train", "A", "trainA"])
def test_other_layouts_are_described(tmp_path, other):
    faces(tmp_path / other, 2)
    picture(0).save(tmp_path / "preview.png")
    assert not CelebA.matches(tmp_path)
    with pytest.raises(
        DataError, match=rf"{tmp_path} holds .*{other}/ \(2 images\).*: expected images directly in it, in img_align_celeba/ or"
    ):
        CelebA(tmp_path, "train", recipe())


def test_a_single_image_cannot_be_split(tmp_path):
    with pytest.raises(DataError, match="a single training image"):
        CelebA(faces(tmp_path, 1), "train", recipe())


def test_bad_images_are_named_when_read_and_when_checked(tmp_path):
    (faces(tmp_path, 5) / "000002.png").write_bytes(b"")
    source = CelebA(tmp_path, "train", recipe())
    ((bad, reason),) = source.check()
    assert bad == 1 and "000002.png: the file is empty" in reason and len(source.drop([bad])) == 3
    with pytest.raises(DataError, match=r"000002\.png"):
        source.sample(bad, None)

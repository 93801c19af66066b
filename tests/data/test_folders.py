import pytest
from PIL import Image

from gcc.data.folders import describe_contents, describe_lack, describe_unread, require_folder
from gcc.data.images import images_below
from gcc.errors import DataError


def test_a_folder_with_something_in_it(tmp_path):
    (tmp_path / "file").touch()
    assert require_folder(tmp_path) == tmp_path


def test_what_is_no_data_folder(tmp_path):
    with pytest.raises(DataError, match="none was given"):
        require_folder(None)
    with pytest.raises(DataError, match=f"there is no folder {tmp_path}/absent"):
        require_folder(tmp_path / "absent")
    with pytest.raises(DataError, match=f"the folder {tmp_path} is empty"):
        require_folder(tmp_path)
    (tmp_path / "file.zip").touch()
    with pytest.raises(DataError, match=r"file\.zip is a file"):
        require_folder(tmp_path / "file.zip")


def test_found_is_short(tmp_path):
    for number in range(7):
        (tmp_path / f"{number}.txt").touch()
    (tmp_path / "0a").mkdir()
    Image.new("RGB", (1, 1)).save(tmp_path / "0a" / "x.png")
    for city in "abcd":
        (tmp_path / "0b" / city).mkdir(parents=True)
    assert describe_contents(tmp_path) == "0.txt, 0a/ (1 image), 0b/ (with a/, b/, c/, ..), 1.txt, 2.txt, 3.txt, and 3 more"


def test_images_that_lie_deeper_and_other_files_are_named(tmp_path):
    (tmp_path / "deep" / "a" / "b").mkdir(parents=True)
    Image.new("RGB", (1, 1)).save(tmp_path / "deep" / "a" / "b" / "x.png")
    (tmp_path / "scans").mkdir()
    for number in range(3):
        (tmp_path / "scans" / f"{number}.MAT").touch()
    (tmp_path / "scans" / "README").touch()
    assert describe_contents(tmp_path) == "deep/ (with a/, which hold 1 image), scans/ (no images, but 3 .mat, 1 without suffix)"
    assert describe_lack(tmp_path / "scans").startswith("its files are 3 .mat, 1 without suffix; images are read from files with the suff")


def test_pictures_that_hide_numpy_files_are_named(tmp_path):
    for name in ("1.npy", "2.npy", "preview.png", "sub/3.npy", "arrays/4.npy"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    read = [*images_below(tmp_path), *images_below(tmp_path / "arrays")]
    assert [path.name for path in read] == ["preview.png", "4.npy"]
    text = "NumPy files are not read beside other images (3 NumPy files, beside preview.png): move the other images to use them"
    assert describe_unread([tmp_path], read) == [text]
    assert describe_unread([tmp_path], read, [tmp_path / "sub"]) == [text.replace("3", "2")]
    assert describe_unread([tmp_path / "arrays"], read) == []

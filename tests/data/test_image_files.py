import pytest

from gcc.data.image_files import ImagesOnDisk
from gcc.errors import DataError


class Words(ImagesOnDisk):
    samples = "words"
    note = "val serves as test"

    def __init__(self, *files):
        self.files = files

    @classmethod
    def matches(cls, root):
        return False

    def read(self, file):
        if file.startswith("bad"):
            raise DataError(f"{file} is bad")
        return file

    def sample(self, index, random):
        return {"word": self.read(self.files[index])}


def test_bad_files_are_told_and_left_out():
    source = Words("bad0", "one", "two", "bad3", "four")
    assert source.check() == [(0, "bad0 is bad"), (3, "bad3 is bad")]
    rest = source.drop({0, 3})
    assert [rest.sample(index, None)["word"] for index in range(len(rest))] == ["one", "two", "four"]
    assert rest.check() == [] and rest.note == source.note and len(source) == 5


def test_nothing_left():
    with pytest.raises(DataError, match="none of the 2 samples can be used"):
        Words("bad0", "bad1").drop({0, 1})


def test_parts_and_grids_by_default():
    source = Words("one")
    assert source.subset(0) == "" and source.preview(0) == {"word": "one"} and source.uniform

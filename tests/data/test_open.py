from pathlib import Path

import pytest

import gcc
from gcc.data.aligned import Aligned
from gcc.data.cityscapes import Cityscapes
from gcc.data.demo.streets import Streets
from gcc.data.open import open_source
from gcc.errors import DataError, PluginError
from tests.helpers.pairs import recipe, side_by_side


class Twin(Aligned):
    """Another reader of the same layout."""


class Faces(Aligned):
    """Single images."""

    samples = "images"


class Raising(Aligned):
    @classmethod
    def matches(cls, root):
        raise RuntimeError("boom")


class Registry:
    def __init__(self, **sources):
        self.sources = sources

    def names(self):
        return sorted(self.sources)

    def load(self, name):
        if self.sources.get(name) is None:
            raise PluginError(f"data set {name!r} does not work")
        return self.sources[name]


@pytest.fixture
def register(monkeypatch):
    def register(**more):
        sources = {"aligned": Aligned, "cityscapes": Cityscapes, "streets": Streets, **more}
        monkeypatch.setattr("gcc.data.open.DATASETS", Registry(**sources))

    register()
    return register


def opened(root, dataset=None, samples="paired"):
    return open_source(root, samples, "train", recipe(), "streets", dataset)


def test_without_a_folder_the_demo(register):
    assert type(opened(None)) is Streets


def test_the_data_set_that_recognises_the_folder(register, tmp_path):
    register(broken=None, raising=Raising, faces=Faces)
    assert type(opened(side_by_side(tmp_path, {"train": 3}))) is Aligned
    assert type(opened(tmp_path, samples="images")) is Faces


def test_the_data_set_that_was_named(register, tmp_path):
    register(twin=Twin, faces=Faces)
    side_by_side(tmp_path, {"train": 3})
    assert type(opened(tmp_path, "twin")) is Twin
    with pytest.raises(DataError, match="'faces' gives 'images' samples: expected 'paired'"):
        opened(tmp_path, "faces")
    with pytest.raises(PluginError, match="'other' does not work"):
        opened(tmp_path, "other")
    with pytest.raises(DataError, match="reads a folder, and none was given"):
        opened(None, "twin")
    with pytest.raises(DataError, match="holds train/ .*expected gtFine/"):
        opened(tmp_path, "cityscapes")


def test_no_data_set_recognises_the_folder(register, tmp_path):
    register(broken=None)
    (tmp_path / "photos").mkdir()
    with pytest.raises(DataError) as error:
        opened(tmp_path)
    first, expected, aligned, cityscapes, skipped, read = str(error.value).split("\n  ")
    assert first.endswith(f"fits {tmp_path}, which holds photos/ (no images)") and expected == "expected one of these layouts:"
    assert aligned.startswith("- aligned: Image pairs: `train/*.jpg`") and cityscapes.startswith("- cityscapes: Cityscapes as downloaded")
    assert skipped == "skipped, because they do not work: broken" and read.startswith("images are read from files")


def test_a_folder_one_level_above_or_below_is_suggested(register, tmp_path):
    facades = side_by_side(tmp_path / "facades", {"train": 3, "test": 1})
    (tmp_path / "notes").mkdir()
    for root in (tmp_path, facades / "train"):
        with pytest.raises(DataError, match=rf"fits {root}, which holds .*\(give `data={facades}`, which fits\)"):
            opened(root)
        with pytest.raises(DataError, match=rf"{root} holds .*: expected train/.*\(give `data={facades}`, which fits\)"):
            opened(root, "aligned")


def test_several_data_sets_recognise_the_folder(register, tmp_path):
    register(twin=Twin)
    with pytest.raises(DataError, match=f"{tmp_path} matches the datasets aligned and twin: name one with `dataset`"):
        opened(side_by_side(tmp_path, {"train": 3}))


def test_what_is_no_data_folder(register, tmp_path):
    for root, reason in ((tmp_path / "absent", "there is no folder"), (tmp_path, "is empty")):
        with pytest.raises(DataError, match=reason):
            opened(root)


def test_demo_datasets_are_reached_through_the_registry_alone():
    for path in Path(gcc.__file__).parent.rglob("*.py"):
        assert "demo" in path.parts or "gcc.data.demo" not in path.read_text(), path

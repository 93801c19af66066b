import pytest
from PIL import Image

from gcc.errors import ArtifactError
from gcc.training.result import BestAndLast, Result, TrainedPair
from gcc.utils.renamed import RenamedAttributes


class Lamp(RenamedAttributes):
    renamed = {"lit": "is_on", "faulty": "broken"}
    is_on = True

    @property
    def broken(self):
        raise ArtifactError("no bulb")


def test_an_old_name_works_and_names_the_new_one():
    with pytest.warns(FutureWarning, match=r"^Lamp\.lit is now called is_on$"):
        assert Lamp().lit


def test_an_unknown_name_is_an_ordinary_attribute_error():
    assert not hasattr(Lamp(), "colour")
    with pytest.raises(AttributeError, match="'Lamp' object has no attribute 'colour'"):
        _ = Lamp().colour


def test_an_error_of_the_attribute_itself_is_not_hidden():
    with pytest.warns(FutureWarning), pytest.raises(ArtifactError, match="no bulb"):
        _ = Lamp().faulty


def test_a_result_is_read_by_the_names_of_version_0_1(tmp_path):
    pair = TrainedPair("teacher", "pix2pix", None, {}, {}, {})
    result = Result({"teacher": BestAndLast(pair, pair)}, Image.new("RGB", (1, 1)))
    result.pairs["teacher"].generators  # noqa: B018 - the present name warns of nothing
    for old, new in (("sides", "pairs"), ("outcomes", "roles"), ("figures", "measurements"), ("places", "paths")):
        with pytest.warns(FutureWarning, match=f"^Result.{old} is now called {new}$"):
            assert getattr(result, old) == getattr(result, new)
    with pytest.warns(FutureWarning):
        assert result.sides == {"teacher": pair}
    with pytest.warns(FutureWarning):
        assert result.figures() == {}

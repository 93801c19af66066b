import pytest
from PIL import Image

from gcc import Compressor, Teacher, Trainer
from gcc.errors import ArtifactError
from gcc.models.pix2pix import Pix2Pix
from gcc.recipe import changed
from gcc.registry import EVALUATORS
from gcc.training.result import Result
from gcc.training.trained_pair import BestAndLast, TrainedPair
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


@pytest.mark.parametrize(
    "use",
    [
        lambda: Compressor(Teacher.create("pix2pix"), size=32, decay=0.5),
        lambda: Trainer(Teacher.create("pix2pix"), size=32, plain=True),
        lambda: Teacher.create("pix2pix").architecture({"counter": "paper"}),
        lambda: changed(Pix2Pix.published(), {"keep": 0.5}),
        lambda: EVALUATORS.load("miou_judge"),
        lambda: Compressor(Teacher.create("pix2pix"), size=32, evaluators="miou_judge").context.evaluators,
    ],
)
def test_old_names_are_reported_at_the_callers_line(use):
    with pytest.warns(FutureWarning, match="is now called") as caught:
        use()
    assert {(warning.filename, warning.lineno) for warning in caught} == {(__file__, use.__code__.co_firstlineno)}

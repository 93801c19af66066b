"""The description of a user's networks comes from a file, so every value is checked."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcc.custom.description import FIELDS, describe, parse
from gcc.custom.tasks import Paired
from gcc.errors import ArtifactError
from gcc.training.teacher import Teacher
from tests.helpers.custom_toys import Painter, Translator

NETWORKS = Teacher.of(Translator(), "paired", size=16, value_range=(0, 255)).family.networks
DESCRIPTION = describe(NETWORKS)


def test_a_description_says_what_the_networks_are():
    again = parse(DESCRIPTION, None, Paired.in_range)
    assert describe(again) == DESCRIPTION
    assert (again.input_shape, again.size_multiple, again.value_range) == ((1, 3, 16, 16), 1, (0.0, 255.0))
    assert parse(DESCRIPTION, Translator, Paired.in_range).followed.channels


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("made_by", 3, "made_by = 3"),
        ("made_by", "a\x1b[31m", "made_by"),
        ("input_shape", [2, 3, 16, 16], "input_shape"),
        ("input_shape", [1, 3, 16, 1 << 40], "input_shape"),
        ("input_shape", [1, 3, 1 << 20, 1 << 20], "input_shape"),
        ("input_shape", [1, 3, True, 16], "input_shape"),
        ("output_shape", "1", "output_shape"),
        ("size_multiple", 0, "size_multiple"),
        ("value_range", [1, 0], "value_range"),
        ("value_range", [0, "1"], "value_range"),
        ("channels", {}, "channels"),
        ("channels", {"a": 1 << 20}, "channels: 'a'"),
        ("channels", {"a\n": 1}, "channels"),
        ("zoo", "os.system", "zoo"),
    ],
)
def test_damaged_values_are_refused(field, value, message):
    with pytest.raises(ArtifactError, match=message):
        parse({**DESCRIPTION, field: value}, None, Paired.in_range)


def test_fields_are_exactly_those():
    for description in ({**DESCRIPTION, "code": "x"}, {key: value for key, value in DESCRIPTION.items() if key != "zoo"}):
        with pytest.raises(ArtifactError, match="networks: expected exactly"):
            parse(description, None, Paired.in_range)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(FIELDS), JSON)
def test_any_value_is_read_or_refused(field, value):
    description = copy.deepcopy(DESCRIPTION) | {field: value}
    try:
        parse(description, None, Paired.in_range)
    except ArtifactError:
        pass


class Sized(Translator):
    def __init__(self, width):
        super().__init__(width)


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (lambda: Translator(4), "Translator, which was saved: .* has 4 channels instead of 8.*; give what made that one as `factory`"),
        (
            Painter,
            r"layer 'network.0' \(ConvTranspose2d\): .*; if it is not .*Translator, which was saved, give what made that one as `factory`",
        ),
        (Translator(), "factory is an instance of Translator: give the class, factory=Translator"),
        (lambda: 3, "factory returned int"),
        (lambda: 1 / 0, "factory: ZeroDivisionError: division by zero; expected it to make the full generator$"),
        (Sized, r"Sized needs arguments: give a function without any that calls it, such as `lambda: Sized\(\.\.\.\)`$"),
    ],
)
def test_a_factory_that_makes_something_else_is_refused(factory, message):
    with pytest.raises(ArtifactError, match=message):
        parse(DESCRIPTION, factory, Paired.in_range).followed  # noqa: B018

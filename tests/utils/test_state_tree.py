"""Nested state, split into plain values and tensors and joined again."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gcc.utils.state_tree import flatten_state, unflatten_state

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.lists(st.floats(-1, 1), max_size=3).map(torch.tensor)
)
STATES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5).filter(lambda key: "$" not in key), inner)
)


def same(one, other):
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and type(one) is type(other)


@given(st.dictionaries(st.text(max_size=3).filter(lambda key: "$" not in key), STATES, max_size=3))
def test_what_is_joined_is_what_was_split_also_by_way_of_json(state):
    plain, tensors = flatten_state(state)
    assert same(unflatten_state(json.loads(json.dumps(plain)), tensors), state)


def test_names_tell_where_a_tensor_was():
    plain, tensors = flatten_state({"a": [1, {"b": torch.ones(2)}]})
    assert list(tensors) == ["/a/1/b"] and plain == {"a": [1, {"b": {"$tensor": "/a/1/b"}}]}


def test_a_missing_tensor_is_told():
    with pytest.raises(KeyError):
        unflatten_state({"$tensor": "a"}, {})

"""Every JSON reader accepts what the library writes."""

import json
import math

from hypothesis import given
from hypothesis import strategies as st

from gcc.utils.json_text import json_text

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))


def expected(value):
    if isinstance(value, dict):
        return {key: expected(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [expected(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@given(VALUES)
def test_values_come_back_with_null_for_what_is_not_finite(value):
    def refuse(constant):
        raise AssertionError(constant)

    assert json.loads(json_text(value, indent=2), parse_constant=refuse) == expected(value)

"""What the texts of options mean."""

import pytest

from gcc.cli.values import range_of


@pytest.mark.parametrize("text", ["-1..1", "-1,1", "(-1, 1)"])
def test_ranges_of_values_are_spelled_as_those_of_files_or_as_before(text):
    assert range_of(text) == (-1, 1)

import pytest

from gcc.errors import RecipeError
from gcc.recipe import parse_range


@pytest.mark.parametrize("text", ["0...4095", "0..", "..1", "1..0", "0..1..2", "0.5.1"])
def test_texts_that_are_not_ranges_are_refused(text):
    with pytest.raises(RecipeError, match="range = .*such as 0..4095"):
        parse_range(text)

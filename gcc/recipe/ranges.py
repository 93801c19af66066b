"""Ranges of values in image files, as texts and as numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gcc.errors import RecipeError

LARGEST_NUMBER = 1e300
Range = tuple[float, float]


def parse_range(value: str | Sequence[float]) -> Range:
    """Return the values of black and white that a text or two numbers state.

    Raises:
        RecipeError: it is not a range.

    >>> parse_range("0..4095"), parse_range((-1000, 3000))
    ((0.0, 4095.0), (-1000.0, 3000.0))
    """
    try:
        low, high = map(float, re.split(r"(?<!\.)\.\.(?!\.)", value) if isinstance(value, str) else value)
    except (TypeError, ValueError, OverflowError):
        low = high = 0.0
    if not -LARGEST_NUMBER <= low < high <= LARGEST_NUMBER:
        raise RecipeError(f"range = {value!r}: expected the values of black and white, the lower first, such as 0..4095")
    return low, high


def range_text(value_range: Range) -> str:
    """Return a range as `--range` and `--value-range` take it.

    >>> range_text((0.0, 4095.0))
    '0..4095'
    """
    return "..".join(repr(value).removesuffix(".0") for value in value_range)

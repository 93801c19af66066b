"""Counts as text."""

from __future__ import annotations

from collections.abc import Iterable

EXPONENTS = {"K": 3, "M": 6, "G": 9, "T": 12}


def counted(number: int, noun: str) -> str:
    """Return a number with what it counts.

    >>> counted(1, "epoch"), counted(3, "epoch")
    ('1 epoch', '3 epochs')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shape_text(shape: Iterable[int]) -> str:
    """Return the sizes of a tensor's dimensions.

    >>> shape_text((1, 3, 256, 512))
    '1x3x256x512'
    """
    return "x".join(map(str, shape))


def with_prefix(value: float) -> str:
    """Return a count with four digits and K, M, G or T.

    >>> with_prefix(6.048e9), with_prefix(512)
    ('6.048 G', '512')
    """
    for prefix, exponent in reversed(EXPONENTS.items()):
        # Half a unit in the fourth digit below the prefix rounds up to it.
        if value >= 0.99995 * 10**exponent:
            return f"{value / 10**exponent:.4g} {prefix}"
    return f"{value:.4g}"

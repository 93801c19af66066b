"""Sizes of images, as texts and as recipe fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gcc.errors import RecipeError


def size_fields(size: int | str | Sequence[int]) -> dict[str, int]:
    """Return the recipe fields of a size; a square leaves the width of rectangles out, which not every family has.

    Args:
        size: a number, a text as `--size` takes it, or a width and a height.

    Raises:
        RecipeError: it is not a size.

    >>> size_fields(256), size_fields("512x256"), size_fields((512, 256))
    ({'size': 256}, {'size': 256, 'image_width': 512}, {'size': 256, 'image_width': 512})
    """
    text = "x".join(map(str, size)) if isinstance(size, list | tuple) else str(size)
    first, cross, second = text.lower().partition("x")
    try:
        width, height = int(first), int(second if cross else first)
    except ValueError:
        raise RecipeError(f"size = {size!r}: expected a whole number, or a width and a height such as 640x480") from None
    return {"size": height} | ({"image_width": width} if width != height else {})


def with_size_fields(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with a size of any form as the fields that it means.

    Raises:
        RecipeError: it is not a size.
    """
    return {**settings, **(size_fields(settings["size"]) if "size" in settings else {})}


def text_of_size(width: int, height: int) -> str:
    """Return a size as `--size` takes it, such as `256` or `512x256`."""
    return str(height) if width == height else f"{width}x{height}"

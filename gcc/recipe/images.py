"""What a recipe says about images: size, channels and the range of values."""

from __future__ import annotations

from gcc.recipe.ranges import Range, parse_range
from gcc.recipe.recipe import RGB, Recipe
from gcc.recipe.sizes import text_of_size


def image_size(recipe: Recipe) -> tuple[int, int]:
    """Return the width and the height of the training images: `size`, unless the family's recipe has an `image_width`."""
    return getattr(recipe, "image_width", None) or recipe.size, recipe.size


def image_channels(recipe: Recipe) -> tuple[int, int]:
    """Return the channels of images A and B; if the task has one kind of image, both numbers are its channels.

    >>> image_channels(Recipe(size=64))
    (3, 3)
    """
    target: int = getattr(recipe, "output_nc", RGB)
    source: int = getattr(recipe, "input_nc", target)
    return (target, source) if getattr(recipe, "direction", "AtoB") == "BtoA" else (source, target)


def data_range(recipe: Recipe) -> Range | None:
    """Return the values of black and white in image files with more than 8 bits; None if each type has its own."""
    text: str | None = getattr(recipe, "range", None)
    return None if text is None else parse_range(text)


def size_text(recipe: Recipe) -> str:
    """Return the size of the training images as `--size` takes it, such as `256` or `512x256`."""
    return text_of_size(*image_size(recipe))


def nearest_sizes(recipe: Recipe, multiple: int, least: int) -> str:
    """Return the nearest sizes, down and up, of which both sides are multiples of a number and at least `least`.

    >>> nearest_sizes(Recipe(size=100), 32, 32), nearest_sizes(Recipe(size=20), 4, 32)
    ('96 or 128', '32')
    """
    first = -(-least // multiple)
    lower = text_of_size(*(max(first, side // multiple) * multiple for side in image_size(recipe)))
    upper = text_of_size(*(max(first, -(-side // multiple)) * multiple for side in image_size(recipe)))
    return lower if lower == upper else f"{lower} or {upper}"

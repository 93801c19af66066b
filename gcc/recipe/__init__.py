"""Recipes: all settings of a run, read from TOML and written to TOML."""

from __future__ import annotations

import warnings
from typing import Any

from gcc.recipe.images import data_range, image_channels, image_size, nearest_sizes, size_text
from gcc.recipe.lengths import (
    LENGTH_FIELDS,
    differences,
    differs_in_length_only,
    require_one_length,
    saved_length,
    training_steps,
    without_replaced_length,
)
from gcc.recipe.names import RENAMED, current_names, renamed
from gcc.recipe.ranges import LARGEST_NUMBER, Range, parse_range, range_text
from gcc.recipe.recipe import (
    BELOW_ONE,
    CHANNELS,
    LARGEST_SIZE,
    LARGEST_WIDTH,
    NON_NEGATIVE,
    PAPER_DISTILLER,
    POSITIVE,
    RGB,
    UNIT_INTERVAL,
    WIDTH,
    GanMode,
    MacCounter,
    Recipe,
    Schedule,
    fields,
)
from gcc.recipe.settings import changed, read_toml, with_new_fields
from gcc.recipe.sizes import size_fields, text_of_size, with_size_fields

__all__ = [
    "BELOW_ONE",
    "CHANNELS",
    "LARGEST_NUMBER",
    "LARGEST_SIZE",
    "LARGEST_WIDTH",
    "LENGTH_FIELDS",
    "NON_NEGATIVE",
    "PAPER_DISTILLER",
    "POSITIVE",
    "RENAMED",
    "RGB",
    "UNIT_INTERVAL",
    "WIDTH",
    "GanMode",
    "MacCounter",
    "Range",
    "Recipe",
    "Schedule",
    "changed",
    "current_names",
    "data_range",
    "differences",
    "differs_in_length_only",
    "fields",
    "image_channels",
    "image_size",
    "nearest_sizes",
    "parse_range",
    "range_text",
    "read_toml",
    "renamed",
    "require_one_length",
    "saved_length",
    "size_fields",
    "size_text",
    "text_of_size",
    "training_steps",
    "with_new_fields",
    "with_size_fields",
    "without_replaced_length",
]

RENAMED_CONSTANTS = {"Counter": "MacCounter", "COUNT": "POSITIVE", "WEIGHT": "NON_NEGATIVE", "SHARE": "UNIT_INTERVAL"}
"""Present names of module constants by those that they had in version 0.1, which this version still accepts."""


def __getattr__(name: str) -> Any:
    if name not in RENAMED_CONSTANTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"gcc.recipe.{name} is now called {RENAMED_CONSTANTS[name]}", DeprecationWarning, stacklevel=2)
    return globals()[RENAMED_CONSTANTS[name]]

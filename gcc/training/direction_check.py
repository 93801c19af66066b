"""Finds out whether a user's generator translates in the other direction."""

from __future__ import annotations

from typing import Any

from gcc.recipe import changed, image_channels
from gcc.registry import Architecture, DatasetSource, Networks
from gcc.training.range_check import CLEAR, PLAUSIBLE, try_given_range

OTHER = {"AtoB": "BtoA", "BtoA": "AtoB"}


def direction_warnings(architecture: Architecture[Any], generators: Networks, data: DatasetSource) -> list[str]:
    """Return a warning if the outputs of a trained generator are near the real images in the other direction only; else an empty list.

    Args:
        architecture: the family.
        generators: the generators, on the CPU.
        data: pairs of images.
    """
    recipe = architecture.recipe
    given = getattr(recipe, "direction", None)
    source, target = image_channels(recipe)
    if given is None or source != target:
        return []
    here = try_given_range(architecture, generators, data)
    if here is None or here.error < PLAUSIBLE:
        return []
    other = OTHER[given]
    there = try_given_range(type(architecture)(changed(recipe, {"direction": other})), generators, data)
    if there is None or there.error >= min(PLAUSIBLE, CLEAR * here.error, there.flat_error):
        return []
    return [
        f"the generator's output differs from the real images by {here.error:.2g} in the direction {given}, and by {there.error:.2g} in "
        f'the other: give `direction="{other}"` if it was trained so'
    ]

"""Named choices of the recipe fields that make up the method: the whole of it, and all of it but a part (Table III)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gcc.errors import RecipeError, near


@dataclass(frozen=True)
class Preset:
    """A choice of recipe fields.

    Attributes:
        summary: what it is, as a phrase.
        settings: the fields.
    """

    summary: str
    settings: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = {
    "pruned-only": Preset(
        "the pruned generator trained by itself against a full discriminator",
        {"discriminator": "full", "lambda_global": 0.0, "lambda_distill_g": 0.0, "lambda_distill_d": 0.0},
    ),
    "full-discriminator": Preset(
        "distillation, and a full discriminator that nothing balances", {"discriminator": "full", "lambda_global": 0.0}
    ),
    "no-discriminator": Preset(
        "distillation and task losses, and no discriminator of the student's", {"discriminator": "none", "lambda_global": 0.0}
    ),
    "no-selective-activation": Preset("a full discriminator, whose weights L_global balances", {"discriminator": "full"}),
    "no-global": Preset("retention factors that L_D alone moves", {"discriminator": "selective", "lambda_global": 0.0}),
    "no-discriminator-distillation": Preset(
        "distillation over generator layers alone", {"discriminator": "selective", "lambda_distill_d": 0.0}
    ),
    "gcc": Preset("the whole method", {"discriminator": "selective"}),
}
"""In the order of Table III: from the pruned generator by itself to the whole method. What a preset does not take away stays as the recipe
has it."""


def preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        RecipeError: there is none of that name.
    """
    if name not in PRESETS:
        raise RecipeError(f"unknown preset {name!r}{near(name, PRESETS)}")
    return PRESETS[name]

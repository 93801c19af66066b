"""Named settings of the recipe fields that switch parts of the method on and off (Table III)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gcc.errors import RecipeError, suggestion
from gcc.recipe import PAPER_DISTILLER


@dataclass(frozen=True)
class Preset:
    """Settings of some recipe fields.

    Attributes:
        summary: a phrase that describes them.
        settings: values by field.
    """

    summary: str
    settings: Mapping[str, Any]


PRESETS: Mapping[str, Preset] = {
    "pruned-only": Preset(
        "the pruned generator, trained without distillation against a full discriminator",
        {"discriminator": "full", "lambda_global": 0.0, "distillers": PAPER_DISTILLER, "lambda_distill_g": 0.0, "lambda_distill_d": 0.0},
    ),
    "full-discriminator": Preset(
        "distillation, and a full discriminator without balancing", {"discriminator": "full", "lambda_global": 0.0}
    ),
    "no-discriminator": Preset(
        "distillation and task losses, without a discriminator for the student", {"discriminator": "none", "lambda_global": 0.0}
    ),
    "no-selective-activation": Preset("a full discriminator whose weights are balanced by L_global", {"discriminator": "full"}),
    "no-global": Preset("retention factors that are trained by L_D only", {"discriminator": "selective", "lambda_global": 0.0}),
    "no-discriminator-distillation": Preset(
        "distillation of generator layers only", {"discriminator": "selective", "lambda_distill_d": 0.0}
    ),
    "gcc": Preset("the whole method", {"discriminator": "selective"}),
}
"""In the order of Table III, from the pruned generator alone to the whole method. All other fields stay as the recipe has them."""


def preset(name: str, own: Mapping[str, Preset] = MappingProxyType({})) -> Preset:
    """Return a preset by its name.

    Args:
        name: its name.
        own: the presets of a family (`Architecture.presets`), beside those of all families.

    Raises:
        RecipeError: the name is unknown.
    """
    presets = {**own, **PRESETS}
    if name not in presets:
        raise RecipeError(f"unknown preset {name!r}{suggestion(name, presets)}")
    return presets[name]

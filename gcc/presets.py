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


def _preset(summary: str, discriminator: str, *, lambda_global: float, generator: float, discriminators: float) -> Preset:
    distillation = {"lambda_distill_g": generator, "lambda_distill_d": discriminators}
    return Preset(summary, {"discriminator": discriminator, "lambda_global": lambda_global, **distillation})


PRESETS: Mapping[str, Preset] = {
    "pruned-only": _preset(
        "the pruned generator trained by itself against a full discriminator", "full", lambda_global=0, generator=0, discriminators=0
    ),
    "full-discriminator": _preset(
        "distillation, and a full discriminator that nothing balances", "full", lambda_global=0, generator=1, discriminators=1
    ),
    "no-discriminator": _preset(
        "distillation and task losses, and no discriminator of the student's", "none", lambda_global=0, generator=1, discriminators=1
    ),
    "no-selective-activation": _preset(
        "a full discriminator, whose weights L_global balances", "full", lambda_global=1, generator=1, discriminators=1
    ),
    "no-global": _preset("retention factors that L_D alone moves", "selective", lambda_global=0, generator=1, discriminators=1),
    "no-discriminator-distillation": _preset(
        "distillation over generator layers alone", "selective", lambda_global=1, generator=1, discriminators=0
    ),
    "gcc": _preset("the whole method", "selective", lambda_global=1, generator=1, discriminators=1),
}
"""In the order of Table III: from the pruned generator by itself to the whole method."""


def preset(name: str) -> Preset:
    """Return a preset by its name.

    Raises:
        RecipeError: there is none of that name.
    """
    if name not in PRESETS:
        raise RecipeError(f"unknown preset {name!r}{near(name, PRESETS)}")
    return PRESETS[name]

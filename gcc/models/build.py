"""Builds a family's networks, each initialised from a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from gcc.models.modules import on_meta
from gcc.registry import Architecture, Gate, no_gate
from gcc.utils.seeds import seeded


def generator_on_meta(architecture: Architecture[Any], widths: Mapping[str, int]) -> nn.Module:
    """Return a generator of shapes without values, in eval mode."""
    return on_meta(partial(architecture.build_generator, widths))


def build_generators(architecture: Architecture[Any], widths: Mapping[str, Mapping[str, int]], side: str) -> dict[str, nn.Module]:
    """Return freshly initialised generators of these widths, by name; `side` names their random numbers, such as "student"."""
    return {
        name: _initialised(architecture, partial(architecture.build_generator, chosen), f"{side} {name}") for name, chosen in widths.items()
    }


def build_discriminators(architecture: Architecture[Any], side: str, gate: Gate = no_gate) -> dict[str, nn.Module]:
    """Return freshly initialised discriminators by name, with `gate` where channels can be switched off."""
    return {
        name: _initialised(architecture, partial(architecture.build_discriminator, gate), f"{side} {name}")
        for name in architecture.discriminators
    }


def _initialised(architecture: Architecture[Any], build: Callable[[], nn.Module], use: str) -> nn.Module:
    with seeded(architecture.recipe.seed, use):
        network = build()
        architecture.initialise(network)
    return network

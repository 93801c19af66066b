"""Builds a family's networks, each initialised with a different seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from gcc.models.modules import on_meta
from gcc.registry import Architecture, Gate, no_gate
from gcc.utils.seeds import seeded


def generators_on_meta(architecture: Architecture[Any], widths: Mapping[str, Mapping[str, int]]) -> dict[str, nn.Module]:
    """Build generators of these widths on the meta device, by name, in eval mode."""
    return {name: generator_on_meta(architecture.for_network(name), chosen) for name, chosen in widths.items()}


def generator_on_meta(architecture: Architecture[Any], widths: Mapping[str, int]) -> nn.Module:
    """Build a generator on the meta device, in eval mode."""
    return on_meta(partial(architecture.build_generator, widths))


def build_generators(architecture: Architecture[Any], widths: Mapping[str, Mapping[str, int]], role: str) -> dict[str, nn.Module]:
    """Build and initialise generators of these widths by name; `role`, such as "student", selects their random numbers."""
    return {
        name: _initialised(architecture, partial(architecture.for_network(name).build_generator, chosen), f"{role} {name}")
        for name, chosen in widths.items()
    }


def build_discriminators(architecture: Architecture[Any], role: str, gate: Gate = no_gate) -> dict[str, nn.Module]:
    """Build and initialise discriminators by name; `gate` builds the modules that switch channels off."""
    return {
        name: _initialised(architecture, partial(architecture.for_network(name).build_discriminator, gate), f"{role} {name}")
        for name in architecture.discriminators
    }


def _initialised(architecture: Architecture[Any], build: Callable[[], nn.Module], stream: str) -> nn.Module:
    with seeded(architecture.recipe.seed, stream):
        network = build()
        architecture.initialise(network)
    return network

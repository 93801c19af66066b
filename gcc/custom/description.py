"""The description of a user's networks in `config.json`: what a saved model needs beside its recipe, its widths and its weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from gcc.custom.networks import CustomNetworks
from gcc.custom.zoo import ZooNetwork
from gcc.errors import ArtifactError, GccError, first_line
from gcc.models.value_range import ValueRange, require_range
from gcc.utils.arguments import advice_without_arguments

FIELDS = ("made_by", "input_shape", "output_shape", "size_multiple", "value_range", "channels", "zoo", "discriminator")
LARGEST_SIZE, LARGEST_WIDTH = 1 << 20, 1 << 16
MOST_VALUES = 1 << 28
"""The most values of one sample, which are 1 GB."""


def describe(networks: CustomNetworks) -> dict[str, Any]:
    """Return the description as plain values."""
    return {
        "made_by": networks.made_by,
        "input_shape": list(networks.input_shape),
        "output_shape": list(networks.output_shape),
        "size_multiple": networks.size_multiple,
        "value_range": list(networks.value_range),
        "channels": dict(networks.channels),
        "discriminator": networks.made_discriminator,
        "zoo": networks.zoo.to_json() if networks.zoo else None,
    }


def parse(
    description: Mapping[str, Any],
    factory: Callable[[], nn.Module] | None,
    in_range: Callable[[nn.Module, ValueRange], nn.Module],
) -> CustomNetworks:
    """Return the networks that a description from a file is about; every value is checked.

    Args:
        description: what `describe` returned.
        factory: makes the full generator; None leaves it unknown.
        in_range: returns a generator whose images have the range that is given as one with images in [-1, 1].

    Raises:
        ArtifactError: a value is damaged, or the factory does not make a generator.
    """
    if description.keys() != set(FIELDS):
        raise ArtifactError(f"networks: expected exactly {', '.join(FIELDS)}")
    made_by, channels, multiple = description["made_by"], description["channels"], description["size_multiple"]
    for name in ("made_by", "discriminator"):
        if not isinstance(description[name], str) or not description[name].isprintable():
            raise ArtifactError(f"{name} = {description[name]!r}: expected a line of text")
    if not isinstance(channels, dict) or not channels:
        raise ArtifactError(f"channels = {channels!r}: expected the number of channels of each group")
    for name, number in channels.items():
        if not name.isprintable() or not _is_count(number, LARGEST_WIDTH):
            raise ArtifactError(f"channels: {name!r} has {number!r}: expected a whole number from 1 to {LARGEST_WIDTH}")
    if multiple is not None and not _is_count(multiple, LARGEST_SIZE):
        raise ArtifactError(f"size_multiple = {multiple!r}: expected a whole number from 1 up, or null")
    value_range = _range(description["value_range"])
    zoo = None if description["zoo"] is None else ZooNetwork.parse(description["zoo"])
    own = factory or (zoo.build if zoo else None)
    make = None if own is None else lambda: in_range(_made(own), value_range)
    input_shape, output_shape = (_shape(name, description[name]) for name in ("input_shape", "output_shape"))
    return CustomNetworks(
        make,
        made_by,
        input_shape,
        output_shape,
        value_range,
        zoo=zoo,
        known_channels=channels,
        known_multiple=multiple,
        made_discriminator=description["discriminator"],
        own=factory,
    )


def _range(value: Any) -> ValueRange:
    numbers = value if isinstance(value, list) and len(value) == 2 else [None]
    if not all(isinstance(number, int | float) and not isinstance(number, bool) for number in numbers):
        raise ArtifactError(f"value_range = {value!r}: expected the values of black and white")
    try:
        return require_range(value)
    except GccError as error:
        raise ArtifactError(str(error)) from error


def _shape(name: str, value: Any) -> tuple[int, ...]:
    is_shape = isinstance(value, list) and 2 <= len(value) <= 5 and value[0] == 1 and all(_is_count(size, LARGEST_SIZE) for size in value)
    if not is_shape or math.prod(value) > MOST_VALUES:
        raise ArtifactError(f"{name} = {value!r}: expected the shape of one sample, such as [1, 3, 64, 64]")
    return tuple(value)


def _is_count(value: Any, largest: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= largest


def _made(factory: Callable[[], nn.Module]) -> nn.Module:
    """Return the generator that a user's factory makes, on the CPU.

    Raises:
        ArtifactError: it fails, or makes something else.
    """
    if isinstance(factory, nn.Module):
        name = type(factory).__name__
        raise ArtifactError(f"factory is an instance of {name}: give the class, factory={name}, since it must make the full generator")
    try:
        network = factory()
    except GccError:
        raise
    except Exception as error:  # A user's code can raise anything.
        advice = advice_without_arguments(factory, f"`lambda: {getattr(factory, '__name__', 'Generator')}(...)`")
        raise ArtifactError(
            f"factory: {type(error).__name__}: {first_line(error)}; expected it to make the full generator{advice}"
        ) from error
    if not isinstance(network, nn.Module):
        raise ArtifactError(f"factory returned {type(network).__name__}: expected the full generator, an nn.Module")
    return network.cpu()

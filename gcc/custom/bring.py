"""Takes the networks that a user brings: checks them, and makes a family of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from gcc.custom.gan import CustomGAN
from gcc.custom.networks import CustomNetworks, Losses
from gcc.custom.zoo import ZooNetwork
from gcc.errors import GccError, suggestion
from gcc.models.calls import copy_of, located_errors, require_values, unwrapped
from gcc.models.modules import evaluating
from gcc.models.value_range import USUAL, require_range
from gcc.recipe import changed, fields
from gcc.registry import TASKS
from gcc.utils.units import counted

SHAPE_FIELDS = ("size", "image_width", "cost_size", "input_nc", "output_nc")
"""The recipe fields that decide the shape of an example."""
FACTS = {"scale", "z_dim"}
"""The recipe fields that the generator decides."""


def family_for(
    task: str,
    generator: nn.Module,
    discriminator: nn.Module | None = None,
    *,
    example: Tensor | None = None,
    value_range: str | Sequence[float] = USUAL,
    losses: Losses | None = None,
    gates: Sequence[str] | None = None,
    zoo: ZooNetwork | None = None,
    settings: Mapping[str, Any],
) -> tuple[type[CustomGAN[Any]], dict[str, Any]]:
    """Return the family of networks that a user brings, and the recipe fields that follow from them.

    Args:
        task: name of the task, such as "paired".
        generator: the generator; a copy is taken.
        discriminator: the discriminator; a copy is taken. None means the task's.
        example: the generator's input for one sample, (1, ...), which fixes the resolution of costs. None means an image of the recipe's
            size.
        value_range: the values that mean black and white to the generator, such as (0, 1) or "0..1".
        losses: the task losses; None means the task's.
        gates: module paths of the discriminator whose outputs are gated; None finds them.
        zoo: how the generator is made, if it is one of spandrel's.
        settings: recipe fields that the user gives.

    Raises:
        GccError: the task is unknown, or the generator does not fit it.
    """
    if task not in TASKS.names():
        raise GccError(f"task {task!r} is unknown{suggestion(task, TASKS.names())}: expected {', '.join(TASKS.names())}")
    colours = require_range(value_range)
    family: Any = TASKS.load(task)
    own, _ = unwrapped(generator)
    remedy = "change its code"
    if example is None:
        recipe = family.published()
        sizes = {name: value for name, value in settings.items() if name in SHAPE_FIELDS and name in fields(type(recipe))}
        example = torch.zeros(family.input_shape_of(changed(recipe, sizes)))
        channels = next((layer.in_channels for layer in own.modules() if isinstance(layer, nn.Conv2d)), None)
        if channels not in (None, example.shape[1]):
            name = next(name for name in ("input_nc", "output_nc") if name in fields(type(recipe)))
            remedy = f"give `{name}={channels}` if its images have {counted(channels, 'channel')}"
    _require_one_input(own)
    require_values(own, (example,))
    _require_float32("generator", own)
    if discriminator is not None:
        _require_float32("discriminator", discriminator)
    own = copy_of(own).cpu().requires_grad_(True)
    full = family.in_range(own, colours)
    output_shape = _output_shape(full, example[:1].cpu(), remedy)
    if gates is not None and discriminator is not None:
        gates = [path.removeprefix(unwrapped(discriminator)[1]) for path in gates]
    networks = CustomNetworks(
        lambda: full,
        f"spandrel's {zoo.network}" if zoo else name_of(own),
        (1, *example.shape[1:]),
        output_shape,
        colours,
        None if discriminator is None else copy_of(unwrapped(discriminator)[0]).cpu().requires_grad_(True),
        gates,
        losses,
        zoo,
        made_discriminator="" if discriminator is None else name_of(discriminator),
        own=lambda: copy_of(own),
    )
    found = family.settings_of(networks.input_shape, output_shape)
    for name in FACTS & found.keys() & settings.keys():
        if str(settings[name]) != str(found[name]):
            raise GccError(f"{name} = {settings[name]}: the generator's is {found[name]}: leave it out")
    return family.of(networks), found


def with_discriminator(family: type[CustomGAN[Any]], discriminator: nn.Module) -> type[CustomGAN[Any]]:
    """Return a family of saved networks with a discriminator of the user's own; a copy is taken."""
    own = copy_of(unwrapped(discriminator)[0]).cpu().requires_grad_(True)
    return family.of(replace(family.networks, discriminator=own, made_discriminator=name_of(discriminator)))


def name_of(network: nn.Module) -> str:
    """Return the name of the class of a network."""
    kind = type(unwrapped(network)[0])
    return f"{kind.__module__}.{kind.__qualname__}"


def _require_float32(name: str, network: nn.Module) -> None:
    """Refuse weights in another precision than training uses.

    Raises:
        GccError: a weight is not in float32.
    """
    others = {str(parameter.dtype).removeprefix("torch.") for parameter in network.parameters()} - {"float32"}
    if others:
        raise GccError(f"the {name} has weights in {', '.join(sorted(others))}: expected float32; call `{name}.float()` first")


def _require_one_input(generator: nn.Module) -> None:
    """Refuse a generator whose `forward` needs several inputs.

    Raises:
        GccError: it does.
    """
    parameters = inspect.signature(generator.forward).parameters.values()
    needed = [one.name for one in parameters if one.default is one.empty and one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if len(needed) > 1:
        names = ", ".join(needed)
        raise GccError(f"the generator takes {len(needed)} inputs, {names}: expected one; wrap it in a module that gives the others")


def _output_shape(generator: nn.Module, example: Tensor, remedy: str) -> tuple[int, ...]:
    expected = f"expected a generator that runs on {tuple(example.shape)}: {remedy}, or give an input that it takes as `example`"
    with torch.no_grad(), evaluating(generator), located_errors(generator, expected):
        output = generator(example)
    if not isinstance(output, Tensor) or output.ndim != 4:
        shown = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise GccError(f"the generator returns {shown}: expected images as one tensor, (N, C, H, W); wrap it in a module that returns them")
    return tuple(output.shape)

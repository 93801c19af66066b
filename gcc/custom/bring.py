"""Takes the networks that a user brings: checks them, and makes a family of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from gcc.artifacts.tensors import require_storable
from gcc.custom.gan import CustomGAN
from gcc.custom.networks import MULTIPLES, CustomNetworks, Losses
from gcc.custom.zoo import ZooNetwork
from gcc.deploy.inputs import accepted_inputs
from gcc.errors import GccError, suggestion
from gcc.models.calls import copy_of, located_errors, require_values, unwrapped
from gcc.models.modules import evaluating
from gcc.models.value_range import USUAL, require_range
from gcc.recipe import Recipe, changed, fields, nearest_sizes, size_fields, text_of_size
from gcc.registry import TASKS
from gcc.utils.units import counted

SHAPE_FIELDS = ("size", "image_width", "cost_size", "input_nc", "output_nc")
"""The recipe fields that decide the shape of an example."""
USUAL_SIZES = (32, 64, 96, 128, 192, 256, 384, 512)
"""The sides of squares that are tried with generators which take a single size."""
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
    path: str = "",
    settings: Mapping[str, Any],
) -> tuple[type[CustomGAN[Any]], dict[str, Any]]:
    """Return the family of networks that a user brings, and the recipe fields that follow from them.

    Args:
        task: name of the task, such as "paired".
        generator: the generator; a copy is taken.
        discriminator: the discriminator; a copy is taken. None means the task's.
        example: the generator's input for one sample, (1, ...), which fixes the resolution of costs; of a larger batch, the first sample
            counts. None means an image of the recipe's size.
        value_range: the values that mean black and white to the generator, such as (0, 1) or "0..1".
        losses: the task losses; None means the task's.
        gates: module paths of the discriminator whose outputs are gated; None finds them.
        zoo: how the generator is made, if it is one of spandrel's.
        path: what made the generator, such as `my_package.models:Generator`. If it is empty, its class is named.
        settings: recipe fields that the user gives.

    Raises:
        GccError: the task is unknown, the networks do not fit it, the example is not a batch, or there are gates without a discriminator.
    """
    family = _family_of(task)
    if gates is not None and discriminator is None:
        raise GccError("`gates` names modules of your own discriminator: give it as `discriminator`, or leave `gates` out")
    colours = require_range(value_range)
    own, _ = unwrapped(generator)
    _require_usable(own, discriminator)
    recipe = _recipe_of_shapes(family, settings) if example is None else None
    sample = torch.zeros(family.input_shape_of(recipe)) if example is None else _one_sample(example)
    require_values(own, (sample,))
    if discriminator is not None:
        require_values(unwrapped(discriminator)[0], ())
    own = copy_of(own).cpu().requires_grad_(True)
    full = family.in_range(own, colours)
    output_shape = _output_shape(full, sample.cpu(), recipe)
    networks = CustomNetworks(
        lambda: full,
        f"spandrel's {zoo.network}" if zoo else path.replace(":", ".") or name_of(own),
        tuple(sample.shape),
        output_shape,
        colours,
        None if discriminator is None else _own_discriminator(discriminator),
        None if gates is None or discriminator is None else [path.removeprefix(unwrapped(discriminator)[1]) for path in gates],
        losses,
        zoo,
        made_discriminator="" if discriminator is None else name_of(discriminator),
        own=lambda: copy_of(own),
    )
    try:
        found = family.settings_of(networks.input_shape, output_shape)
    except GccError as error:
        raise _with_size(error, family, full, sample, recipe) from error
    _require_facts(found, settings)
    return family.of(networks), found


def with_discriminator(family: type[CustomGAN[Any]], discriminator: nn.Module) -> type[CustomGAN[Any]]:
    """Return a family of saved networks with a discriminator of the user's own; a copy is taken."""
    own = _own_discriminator(discriminator)
    return family.of(replace(family.networks, discriminator=own, made_discriminator=name_of(discriminator)))


def name_of(network: nn.Module) -> str:
    """Return the name of the class of a network."""
    kind = type(unwrapped(network)[0])
    return f"{kind.__module__}.{kind.__qualname__}"


def _family_of(task: str) -> type[CustomGAN[Any]]:
    """Return the family of a task.

    Raises:
        GccError: the task is unknown.
    """
    if task not in TASKS.names():
        raise GccError(f"task {task!r} is unknown{suggestion(task, TASKS.names())}")
    return cast(type[CustomGAN[Any]], TASKS.load(task))


def _recipe_of_shapes(family: type[CustomGAN[Any]], settings: Mapping[str, Any]) -> Recipe:
    """Return the recipe whose fields decide the shape of the generator's input, if the user gives no example."""
    recipe: Recipe = family.published()
    return changed(recipe, {name: value for name, value in settings.items() if name in SHAPE_FIELDS and name in fields(type(recipe))})


def _one_sample(example: Tensor) -> Tensor:
    """Return the first sample of an example, (1, ...).

    Raises:
        GccError: it has no batch dimension, or no sample.
    """
    is_single_image = example.ndim == 3 and len(example) != 1
    if example.ndim < 2 or is_single_image or not len(example):
        raise GccError(
            f"`example` has the shape {tuple(example.shape)}: expected one sample with a batch dimension, such as example[None] for a "
            "sample without one, or example[:1] for a batch"
        )
    return example[:1]


def _require_usable(generator: nn.Module, discriminator: nn.Module | None) -> None:
    """Refuse networks that cannot be called, or trained.

    Raises:
        GccError: the generator needs several inputs, weights are in another precision than training uses, or files cannot hold them.
    """
    _require_one_input(generator)
    for role, network in (("generator", generator), ("discriminator", discriminator)):
        if network is not None:
            require_storable(role, network)
            _require_float32(role, network)


def _own_discriminator(discriminator: nn.Module) -> nn.Module:
    """Return a copy of the user's discriminator, which can train, on the CPU."""
    return copy_of(unwrapped(discriminator)[0]).cpu().requires_grad_(True)


def _require_facts(found: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
    """Refuse settings that contradict what the generator is.

    Raises:
        GccError: a recipe field has another value.
    """
    for name in FACTS & found.keys() & settings.keys():
        if str(settings[name]) != str(found[name]):
            raise GccError(f"{name} = {settings[name]}: the generator's is {found[name]}: leave it out")


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


def _output_shape(generator: nn.Module, sample: Tensor, recipe: Recipe | None) -> tuple[int, ...]:
    """Return the shape of the images that a generator returns for a sample.

    Args:
        generator: the generator.
        sample: its input, (1, ...).
        recipe: the recipe that the shape of the sample comes from; None if the user gave the sample.

    Raises:
        GccError: it does not run on the sample, or returns no images.
    """
    try:
        output = _output(generator, sample, "change its code")
    except GccError:
        remedy = None if recipe is None else _remedy(generator, sample, recipe)
        if remedy is None:
            raise
        output = _output(generator, sample, remedy)
    if not isinstance(output, Tensor) or output.ndim != 4:
        shown = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise GccError(f"the generator returns {shown}: expected images as one tensor, (N, C, H, W); wrap it in a module that returns them")
    return tuple(output.shape)


def _with_size(error: GccError, family: type[CustomGAN[Any]], generator: nn.Module, sample: Tensor, recipe: Recipe | None) -> GccError:
    """Return an error about the size of a generator's output, with a size of images for which it fits the task if there is one.

    Args:
        error: the error.
        family: the family of the task.
        generator: the generator.
        sample: its input.
        recipe: the recipe that the size of the sample comes from; None if the user gave the sample.
    """
    for multiple in MULTIPLES if recipe is not None and sample.ndim == 4 else ():
        larger = _up_to_multiple(sample, multiple)
        with suppress(GccError):
            family.settings_of(larger.shape, _output(generator, larger, "").shape)
            return GccError(f"{error}; give a `size` such as {text_of_size(*larger.shape[:1:-1])}")
    return error


def _up_to_multiple(sample: Tensor, multiple: int) -> Tensor:
    height, width = sample.shape[2:]
    return sample.new_zeros(*sample.shape[:2], height + -height % multiple, width + -width % multiple)


def _output(generator: nn.Module, sample: Tensor, remedy: str) -> Any:
    """Return what a generator returns for a sample.

    Raises:
        GccError: it does not run, and the message has the remedy; or it changes the sample.
    """
    expected = f"expected a generator that runs on {tuple(sample.shape)}: {remedy}, or give an input that it takes as `example`"
    changes = sample._version
    with torch.no_grad(), evaluating(generator), located_errors(generator, expected):
        output = generator(sample)
    if sample._version != changes:
        raise GccError("the generator changes its input in place: compute a new tensor instead, such as `x = x - mean` for `x -= mean`")
    return output


def _remedy(generator: nn.Module, sample: Tensor, recipe: Recipe) -> str | None:
    """Return which field of the recipe gives a sample that a generator runs on; None if no other number of channels and no size does."""
    if channels := _channels_taken(generator, sample):
        name = next(name for name in ("input_nc", "output_nc") if name in fields(type(recipe)))
        return f"give `{name}={channels}` if its images have {counted(channels, 'channel')}"
    if sizes := _sizes_taken(generator, sample, recipe):
        return f"give a `{'cost_size' if hasattr(recipe, 'cost_size') else 'size'}` such as {sizes}"
    return None


def _channels_taken(generator: nn.Module, sample: Tensor) -> int | None:
    """Return a number of channels with which a generator runs on images of the size of a sample; None if no convolution's fits."""
    counts = dict.fromkeys(layer.in_channels for layer in generator.modules() if isinstance(layer, nn.Conv2d))
    for channels in counts:
        with suppress(GccError):
            _output(generator, sample.new_zeros(1, channels, *sample.shape[2:]), "")
            return channels
    return None


def _sizes_taken(generator: nn.Module, sample: Tensor, recipe: Recipe) -> str:
    """Return sizes of images with which a generator runs: near that of a sample, else a usual one; empty if it runs with none of these."""
    height, width = sample.shape[2:]
    for multiple in MULTIPLES:
        larger = _up_to_multiple(sample, multiple)
        with suppress(GccError):
            _output(generator, larger, "")
            inputs = accepted_inputs(generator, larger)
            size = changed(recipe, size_fields((width, height)))
            return nearest_sizes(size, inputs.step, inputs.min_size) if inputs.step else text_of_size(*larger.shape[:1:-1])
    for side in USUAL_SIZES:
        with suppress(GccError):
            _output(generator, sample.new_zeros(*sample.shape[:2], side, side), "")
            return text_of_size(side, side)
    return ""

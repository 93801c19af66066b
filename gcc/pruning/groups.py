"""Finds the channel groups of a generator by comparing the parameter shapes of two builds of it.

A student is built anew from its widths, so nothing is sliced. Pruning only needs to know which weights produce the channels of a width,
and which normalisation scales weigh them. To find out, the generator is built twice, the second time with one width raised: the shapes of
the parameters show which dimension grew, and by how much. Skip connections, residual sums, depthwise convolutions, pixel shuffles and
spectral norm need no special rules.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from gcc.errors import PluginError
from gcc.models.build import generator_on_meta
from gcc.models.modules import CONVOLUTIONS, NORMS, TRANSPOSED_CONVOLUTIONS
from gcc.registry.architecture import Architecture
from gcc.registry.types import Group, Producer, Width

STEP = 8
"""Channels by which a width is raised."""

# A plain weight, one under a parametrisation (spectral norm; the direction of weight norm), and one under the older hooks for these.
WEIGHTS = ("weight", "parametrizations.weight.original", "parametrizations.weight.original1", "weight_orig", "weight_v")


def find_groups(architecture: Architecture[Any], base: int) -> list[Group]:
    """Return the channel groups of the generator of width `base`, one for each of its widths, in order, unless the family knows them.

    A dimension of a parameter *belongs* to a group if its size is a whole multiple of the group's channels and grows accordingly. The input
    of a convolution behind a concatenation belongs to no group. A group's producers are the convolutions and linear layers whose output
    belongs to it, except depthwise convolutions, which only pass channels on. Its scales are the normalisation weights, (channels,), that
    belong to it.

    Raises:
        PluginError: a width has no producer; either it is not a width of this generator, or its weights are not those of convolutions and
            linear layers.
    """
    if (groups := architecture.groups(base)) is not None:
        return list(groups)
    widths = architecture.widths(base)
    full = architecture.full_widths(base)
    network = generator_on_meta(architecture, full)
    return [
        _group(name, width, network, generator_on_meta(architecture, full | {name: width.channels + STEP}))
        for name, width in widths.items()
    ]


def _group(name: str, width: Width, network: nn.Module, raised: nn.Module) -> Group:
    modules = dict(raised.named_modules())
    producers: list[Producer] = []
    scales: list[str] = []
    for path, module in network.named_modules():
        other = modules.get(path)
        if isinstance(module, (*CONVOLUTIONS, nn.Linear)) and other is not None:
            producers += _producers(path, module, other, width.channels)
        elif isinstance(module, NORMS) and other is not None:
            scales += _scales(path, module, other, width.channels)
    if not producers:
        raise PluginError(
            f"width {name!r}: raising it from {width.channels} to {width.channels + STEP} changed the output of no convolution or linear "
            "layer of the generator; expected `widths` to name channels that `build_generator` gives to at least one layer"
        )
    return Group(name, width.channels, width.minimum, tuple(producers), tuple(scales))


def _producers(path: str, module: nn.Module, raised: nn.Module, channels: int) -> list[Producer]:
    """Return the weight of a layer as a producer if its output belongs to the group."""
    if getattr(module, "groups", 1) != getattr(raised, "groups", 1):
        return []  # One kernel per channel: another layer produces the channels.
    dim = 1 if isinstance(module, TRANSPOSED_CONVOLUTIONS) else 0
    before, after = dict(module.named_parameters()), dict(raised.named_parameters())
    weights = [name for name in WEIGHTS if name in before and name in after]
    ratios = {name: _ratio(before[name].shape[dim], after[name].shape[dim], channels) for name in weights}
    return [Producer(_parameter_name(path, name), dim, ratio) for name, ratio in ratios.items() if ratio]


def _scales(path: str, module: Any, raised: Any, channels: int) -> list[str]:
    """Return the scale of a norm if it contains one number for each channel of the group."""
    before, after = module.weight, raised.weight
    if before is None or after is None or before.ndim != 1:
        return []
    return [_parameter_name(path, "weight")] if _ratio(before.shape[0], after.shape[0], channels) == 1 else []


def _ratio(before: int, after: int, channels: int) -> int:
    """Return how many entries each channel has in a dimension, or 0 if the dimension does not belong to the group."""
    ratio, rest = divmod(after - before, STEP)
    return ratio if rest == 0 and before == ratio * channels else 0


def _parameter_name(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name

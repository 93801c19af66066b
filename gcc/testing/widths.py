"""Channel groups and widths of generators."""

from __future__ import annotations

from typing import Any

import torch

from gcc.errors import GccError
from gcc.models.build import build_generators, generator_on_meta
from gcc.models.modules import Widths
from gcc.pruning.cost import generator_cost
from gcc.pruning.graph.aten_graph import Graph
from gcc.pruning.graph.groups import find_channels
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.groups import find_groups
from gcc.registry import Architecture
from gcc.testing.common import prunable_widths, require


def check_groups(architecture: Architecture[Any]) -> None:
    """Check that every width has a layer that produces its channels, and that the outputs of each channel are adjacent in its weight."""
    groups = find_groups(architecture, architecture.recipe.prune_width)
    with_several_outputs = [(group, producer) for group in groups for producer in group.producers if producer.ratio > 1]
    if not with_several_outputs:
        return
    network = next(iter(build_generators(architecture, prunable_widths(architecture), "check").values()))
    try:
        groups_of_graph = find_channels(ChannelTrace(Graph(network, architecture.example_input())))
    except GccError:
        return  # A constructor may build networks whose graph cannot be followed.
    known = {producer for channels in groups_of_graph for producer in channels.group.producers}
    for group, producer in with_several_outputs:
        require(
            producer in known,
            f"width {group.name!r}: the {producer.ratio} outputs of {producer.parameter} that are one channel are not adjacent: "
            f"read them by `unflatten(1, (-1, {producer.ratio})).unbind(2)`, not by `chunk`",
        )


def check_widths(architecture: Architecture[Any], widths: Widths) -> None:
    """Check that a generator of these widths can be built and run, and that its output has the shape of the full one's."""
    full = architecture.full_widths(architecture.recipe.prune_width)
    with torch.device("meta"), torch.no_grad():
        expected = architecture.build_generator(full).eval()(architecture.example_input()).shape
        shape = architecture.build_generator(widths).eval()(architecture.example_input()).shape
    require(shape == expected, f"widths {widths} give the output shape {tuple(shape)}: expected {tuple(expected)}")


def check_costs_fall(architecture: Architecture[Any]) -> None:
    """Check that no cost rises when a width falls, down to its minimum."""
    widths = architecture.widths(architecture.recipe.prune_width)
    full = architecture.full_widths(architecture.recipe.prune_width)
    for name, width in widths.items():
        falling = (width.channels, max(width.channels // 2, width.minimum, 1), width.minimum)
        costs = [generator_cost(architecture, full | {name: channels}) for channels in falling]
        for more, less in zip(costs, costs[1:], strict=False):
            falls = less.macs <= more.macs and less.paper_macs <= more.paper_macs and less.parameters <= more.parameters
            require(falls, f"a smaller width {name!r} costs more: {less} after {more}")


def check_zero_widths(architecture: Architecture[Any]) -> None:
    """Check that a width of 0, if allowed, leaves no empty layer."""
    full = architecture.full_widths(architecture.recipe.prune_width)
    for name, width in architecture.widths(architecture.recipe.prune_width).items():
        if width.minimum == 0:
            network = generator_on_meta(architecture, full | {name: 0})
            empty = [path for path, parameter in network.named_parameters() if parameter.numel() == 0]
            require(not empty, f"width {name!r} of 0 leaves empty parameters: {', '.join(empty)}")

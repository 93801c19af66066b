"""Tables of an architecture or a saved generator, as `gcc inspect` prints them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn

from gcc.artifacts.comparison import pruned_from
from gcc.artifacts.config import Factory
from gcc.artifacts.model import read
from gcc.cli.narrow import NarrowTable
from gcc.cli.tables import comparison_table, facts_table, pruning_bars
from gcc.models.build import generator_on_meta
from gcc.models.modules import Widths
from gcc.pruning.cost import generator_cost
from gcc.pruning.groups import find_groups
from gcc.registry import Architecture, Group
from gcc.training.teacher import Teacher
from gcc.utils.units import shape_text


def inspect_architecture(arch: str, settings: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Yield the layers, channel groups and costs of an architecture's full generator, and the costs of the generator that is pruned.

    Raises:
        GccError: the architecture is unknown, or a setting is invalid.
    """
    architecture = Teacher.create(arch).architecture(settings)
    recipe = architecture.recipe
    widths = architecture.full_widths(recipe.ngf)
    yield layer_table(architecture, widths)
    yield group_table(find_groups(architecture, recipe.ngf))
    for role, base in (("teacher", recipe.ngf), ("pruned from", recipe.prune_width)):
        cost = generator_cost(architecture, architecture.full_widths(base))
        yield facts_table({f"{role}, width {base}": str(cost)})
    yield facts_table({"distilled layers": ", ".join((*architecture.taps().generator, *architecture.taps().discriminator))})


def inspect_saved(folder: Path, factory: Factory | None = None) -> Iterator[RenderableType]:
    """Yield the layers, costs and pruning ratios of every generator in a folder.

    Args:
        folder: the folder.
        factory: makes the full generator, if it is one of the user's own.

    Raises:
        GccError: the folder has no readable generator.
    """
    for artifact in read(folder, factory=factory).values():
        architecture = artifact.architecture.for_network(artifact.generator)
        artifact.network()  # Raises an error if the weights are damaged.
        yield facts_table({"architecture": artifact.arch, "generator": artifact.generator, "role": artifact.role})
        yield layer_table(architecture, artifact.widths)
        yield facts_table({"costs": str(generator_cost(architecture, artifact.widths))})
        if artifact.measurements:
            yield comparison_table("measured when it was saved", artifact.measurements)
        if artifact.role == "student":
            full = architecture.full_widths(artifact.recipe.prune_width)
            yield pruning_bars(artifact.widths, full, pruned_from(architecture))


def layer_table(architecture: Architecture[Any], widths: Widths) -> NarrowTable:
    """Return every layer that has parameters, in forward order, with the shape of its output."""
    network = generator_on_meta(architecture, widths)
    table = Table(title="layers", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("layer", "kind", "output", "parameters"):
        table.add_column(heading, justify="right" if heading == "parameters" else "left")

    def row(path: str, module: nn.Module, output: Tensor) -> None:
        parameters = sum(parameter.numel() for parameter in module.parameters())
        table.add_row(Text(path), type(module).__name__, shape_text(output.shape[1:]), f"{parameters:,}")

    for path, module in network.named_modules():
        if not list(module.children()) and list(module.parameters()):
            module.register_forward_hook(lambda module, inputs, output, path=path: row(path, module, output))
    with torch.device("meta"), torch.no_grad():
        network(architecture.example_input())
    return NarrowTable(table)


def group_table(groups: list[Group]) -> NarrowTable:
    """Return every channel group with the parameters that produce and the layers that scale its channels."""
    table = Table(title="channel groups", title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in ("width", "channels", "at least", "produced by", "scaled by"):
        table.add_column(heading, justify="right" if heading in ("channels", "at least") else "left", overflow="fold")
    for group in groups:
        producers = ", ".join(producer.parameter for producer in group.producers)
        table.add_row(group.name, str(group.channels), str(group.minimum), producers, ", ".join(group.scales) or "-")
    return NarrowTable(table)

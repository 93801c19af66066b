"""The channel groups of a trace, like those that `gcc.pruning.groups` finds from a constructor, and their weights as metrics read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from gcc.pruning.graph.channel_ids import FIXED, Atoms, Axis
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.groups import WEIGHTS
from gcc.registry.stored_weights import EFFECTIVE, GRADIENT, effective_gradient, effective_weight
from gcc.registry.types import Group, Producer

Dimension = tuple[str, int]
"""The name of one of the network's tensors, and the number of one of its dimensions."""


@dataclass(frozen=True)
class Part:
    """Some positions of a parameter's dimension, in a given order, that metrics read under a name of their own.

    Attributes:
        name: the name that metrics read.
        parameter: name of the parameter in the network.
        dim: the dimension.
        positions: positions in that dimension.
    """

    name: str
    parameter: str
    dim: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Channels:
    """A channel group and the positions of its channels.

    Attributes:
        group: the group for metrics and the search.
        units: the atom that represents each channel, (channels,).
        parts: parts of parameters that the group's producers and scales name. They are needed if a parameter produces channels of several
            groups, or if the positions of a channel are not consecutive, as in the two halves before a gated linear unit.
    """

    group: Group
    units: Axis
    parts: tuple[Part, ...]


class Selection:
    """The positions that are kept.

    Args:
        atoms: the network's atoms.
        channels: its channel groups.
        kept: indices of the channels to keep by group name; a group that is not named keeps all of its channels.
    """

    def __init__(self, atoms: Atoms, channels: Iterable[Channels], kept: Mapping[str, Sequence[int]]) -> None:
        self._atoms = atoms
        self._is_kept = np.ones(len(atoms), bool)
        for one in channels:
            if one.group.name in kept:
                self._is_kept[np.delete(one.units, list(kept[one.group.name]))] = False

    def continued(self, atoms: Atoms) -> Selection | None:
        """Return the same selection for a copy of the atoms, some of which may be tied since; None if ties join kept and removed ones."""
        axis = np.arange(len(self._atoms))
        is_kept, roots = self.mask(axis), atoms.roots(axis)
        other = Selection(atoms, (), {})
        other._is_kept[roots[~is_kept]] = False
        return other if other._is_kept[roots[is_kept]].all() else None

    def mask(self, axis: Axis) -> NDArray[np.bool_]:
        """Return whether each position is kept."""
        mask: NDArray[np.bool_] = self._is_kept[self._atoms.roots(axis)]
        return mask

    def positions(self, axis: Axis) -> list[int]:
        """Return the positions that are kept."""
        positions: list[int] = np.flatnonzero(self.mask(axis)).tolist()
        return positions

    def size(self, axis: Axis) -> int:
        """Return the number of positions that are kept."""
        return int(self.mask(axis).sum())


def find_channels(trace: ChannelTrace) -> list[Channels]:
    """Return the channel groups of two or more channels, in the order of the layers that produce them.

    Units that occur in the same dimensions of the same tensors, equally often, form a group. Channels that no convolution, linear layer or
    embedding produces, such as those of a learned constant, are kept and belong to no group.
    """
    # The graph uses one of the names of a tensor that layers share, which need not be the first one.
    parameters = dict(trace.graph.network.named_parameters(remove_duplicate=False))
    roots = {(tensor.name, dim): trace.atoms.roots(axis) for tensor in trace.tensors for dim, axis in enumerate(tensor.layout)}
    producing = _dimensions(trace, trace.roles.outputs, {name for name, parameter in parameters.items() if parameter.ndim > 1})
    scaling = _dimensions(trace, trace.roles.scales, {name for name, parameter in parameters.items() if parameter.ndim == 1})
    groups: list[Channels] = []
    for dimensions, units in _units_by_dimensions(roots).items():
        producers, scales = ([dimension for dimension in dimensions if dimension in role] for role in (producing, scaling))
        if len(units) > 1 and producers:
            groups.append(_channels(len(groups), {one.group.name for one in groups}, units, roots, producers, scales))
    return groups


def _dimensions(trace: ChannelTrace, axes: Sequence[Axis], names: Iterable[str]) -> set[Dimension]:
    """Return the dimensions of the named tensors whose own atoms are among `axes`."""
    marked = np.zeros(len(trace.atoms), bool)
    for axis in axes:
        marked[axis] = True
    marked[FIXED] = False
    named = [tensor for tensor in trace.tensors if tensor.name in names]
    return {(tensor.name, dim) for tensor in named for dim, axis in enumerate(tensor.layout) if marked[axis].any()}


def _units_by_dimensions(roots: Mapping[Dimension, Axis]) -> dict[tuple[Dimension, ...], list[int]]:
    """Return the units that occur in the same dimensions equally often, by these dimensions."""
    occurrences: dict[int, list[tuple[Dimension, int]]] = defaultdict(list)
    for dimension, axis in roots.items():
        units, counts = np.unique(axis[axis != FIXED], return_counts=True)
        for unit, count in zip(units.tolist(), counts.tolist(), strict=True):
            occurrences[unit].append((dimension, count))
    alike: dict[tuple[tuple[Dimension, int], ...], list[int]] = defaultdict(list)
    for unit, counted in occurrences.items():
        alike[tuple(counted)].append(unit)
    return {tuple(dimension for dimension, _ in counted): units for counted, units in alike.items()}


def _channels(
    number: int,
    taken: set[str],
    units: Sequence[int],
    roots: Mapping[Dimension, Axis],
    producers: Sequence[Dimension],
    scales: Sequence[Dimension],
) -> Channels:
    first = roots[producers[0]]
    ordered = first[np.sort(np.unique(first, return_index=True)[1])]
    ordered = ordered[np.isin(ordered, units)]
    parts: list[Part] = []
    group_producers: list[Producer] = []
    group_scales: list[str] = []
    for name, dim in producers:
        grid = _grid(roots[name, dim], ordered)
        part = _part_name(parts, f"{name}[{number}]", name, dim, grid.reshape(-1), roots)
        group_producers.append(Producer(part, dim, grid.shape[1]))
    for name, dim in scales:
        columns = _grid(roots[name, dim], ordered).T
        group_scales += [_part_name(parts, f"{name}[{number},{index}]", name, dim, column, roots) for index, column in enumerate(columns)]
    path = _layer(producers[0][0])
    title = path if path not in taken else f"{path}[{number}]"
    return Channels(Group(title, len(ordered), 1, tuple(group_producers), tuple(group_scales)), ordered, tuple(parts))


def _grid(axis: Axis, units: Axis) -> Axis:
    """Return the positions of each unit in a dimension, (channels, positions)."""
    index = np.full(max(axis.max(), units.max()) + 1, -1)
    index[units] = np.arange(len(units))
    positions = np.flatnonzero(index[axis] >= 0)
    return positions[np.argsort(index[axis][positions], kind="stable")].reshape(len(units), -1)


def _part_name(parts: list[Part], title: str, name: str, dim: int, positions: Axis, roots: Mapping[Dimension, Axis]) -> str:
    """Return the parameter's own name if `positions` are all of its positions in order; else add a part and return its name."""
    if len(positions) == len(roots[name, dim]) and (positions == np.arange(len(positions))).all():
        return name
    parts.append(Part(title, name, dim, tuple(positions.tolist())))
    return title


def _layer(parameter: str) -> str:
    """Return the path of the layer that a weight belongs to."""
    for weight in WEIGHTS:
        if parameter.endswith(f".{weight}"):
            return parameter.removesuffix(f".{weight}")
    return parameter


def with_named_parts(network: nn.Module, channels: Iterable[Channels], computed: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Return a network that shares the tensors and in which every producer and scale can be read by name, with the gradients of parts.

    Args:
        network: the network.
        channels: its channel groups.
        computed: the weights that layers compute in their code, by the name of the parameter that they are stored as.
    """
    source = _shallow_copy(network)
    for parameter, weight in (computed or {}).items():
        path, _, name = parameter.rpartition(".")
        layer = source.get_submodule(path)
        layer.register_buffer(name + EFFECTIVE, weight)
        layer.register_buffer(name + GRADIENT, _gradient_by_product(weight, network.get_parameter(parameter)))
    view = _shallow_copy(source)
    for part in (part for one in channels for part in one.parts):
        path, _, name = part.name.rpartition(".")
        whole = network.get_parameter(part.parameter)
        positions = torch.tensor(part.positions, device=whole.device)
        piece = nn.Parameter(whole.detach().index_select(part.dim, positions), whole.requires_grad)
        piece.grad = None if whole.grad is None else whole.grad.index_select(part.dim, positions)
        layer = view.get_submodule(path)
        layer.register_parameter(name, piece)
        weight = effective_weight(source, part.parameter)
        if weight is not whole:
            layer.register_buffer(name + EFFECTIVE, weight.detach().index_select(part.dim, positions))
            gradient = effective_gradient(source, part.parameter)
            layer.register_buffer(name + GRADIENT, None if gradient is None else gradient.index_select(part.dim, positions))
    return view


@torch.no_grad()
def _gradient_by_product(weight: Tensor, stored: Tensor) -> Tensor:
    """Return the gradient by a weight that is `stored` times factors, from the gradient by `stored`; zero where the weight is."""
    gradient = torch.zeros_like(stored) if stored.grad is None else stored.grad
    return torch.where(weight == 0, 0, gradient * stored / torch.where(weight == 0, 1, weight))


def _shallow_copy(module: nn.Module) -> nn.Module:
    """Return a module that shares the tensors but has its own tables of parameters and submodules."""
    copy = object.__new__(type(module))
    children = {name: None if child is None else _shallow_copy(child) for name, child in module._modules.items()}
    copy.__dict__ = {**module.__dict__, "_parameters": dict(module._parameters), "_buffers": dict(module._buffers), "_modules": children}
    return copy

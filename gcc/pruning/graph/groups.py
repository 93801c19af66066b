"""The channel groups of a trace, as `gcc.pruning.groups` finds them from a constructor, and their weights as metrics read them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gcc.pruning.graph.channel_ids import FIXED, Atoms, Axis
from gcc.pruning.graph.propagate import Trace
from gcc.pruning.groups import WEIGHTS
from gcc.registry.types import Group, Producer

Place = tuple[str, int]
"""A dimension of a tensor of the network, by the tensor's name."""


@dataclass(frozen=True)
class Part:
    """Some positions of a parameter's dimension, in an order and under a name of their own.

    Attributes:
        name: under which metrics read them.
        parameter: name of the parameter in the network.
        dim: the dimension.
        positions: in it.
    """

    name: str
    parameter: str
    dim: int
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Channels:
    """A channel group, and where its channels lie.

    Attributes:
        group: as metrics and the search know it.
        units: the atom that stands for each channel, (channels,).
        parts: what producers and scales name beside whole parameters of the network: where a parameter makes channels of several groups,
            or where the positions of a channel are not consecutive, as in the two halves before a gated linear unit.
    """

    group: Group
    units: Axis
    parts: tuple[Part, ...]


class Kept:
    """Which positions stay.

    Args:
        atoms: of the network.
        channels: its groups.
        kept: numbers of the channels of each group that stay, by group name; all of a group that is not named.
    """

    def __init__(self, atoms: Atoms, channels: Iterable[Channels], kept: Mapping[str, Sequence[int]]) -> None:
        self._atoms = atoms
        self._stays = np.ones(len(atoms), bool)
        for one in channels:
            if one.group.name in kept:
                self._stays[np.delete(one.units, list(kept[one.group.name]))] = False

    def mask(self, axis: Axis) -> NDArray[np.bool_]:
        """Return whether each position stays."""
        stays: NDArray[np.bool_] = self._stays[self._atoms.roots(axis)]
        return stays

    def positions(self, axis: Axis) -> list[int]:
        """Return the positions that stay."""
        found: list[int] = np.flatnonzero(self.mask(axis)).tolist()
        return found

    def size(self, axis: Axis) -> int:
        """Return how many positions stay."""
        return int(self.mask(axis).sum())


def find_channels(trace: Trace) -> list[Channels]:
    """Return the channel groups of two channels and more, in the order of the layers that make them.

    Units that lie in the same dimensions of the same tensors, equally often, are a group. What no convolution, linear layer or embedding
    makes, such as a learned constant, stays and belongs to none.
    """
    # The graph names what layers share by one of its names, which need not be the first.
    parameters = dict(trace.graph.network.named_parameters(remove_duplicate=False))
    roots = {(held.name, dim): trace.atoms.roots(axis) for held in trace.held for dim, axis in enumerate(held.layout)}
    making = _places(trace, trace.roles.made, {name for name, parameter in parameters.items() if parameter.ndim > 1})
    scaling = _places(trace, trace.roles.scales, {name for name, parameter in parameters.items() if parameter.ndim == 1})
    found: list[Channels] = []
    for places, units in _alike(roots).items():
        producers, scales = ([place for place in places if place in role] for role in (making, scaling))
        if len(units) > 1 and producers:
            found.append(_channels(len(found), {one.group.name for one in found}, units, roots, producers, scales))
    return found


def _places(trace: Trace, axes: Sequence[Axis], names: Iterable[str]) -> set[Place]:
    """Return the dimensions of the named tensors whose own atoms are among `axes`."""
    marked = np.zeros(len(trace.atoms), bool)
    for axis in axes:
        marked[axis] = True
    marked[FIXED] = False
    return {(held.name, dim) for held in trace.held for dim, axis in enumerate(held.layout) if held.name in names and marked[axis].any()}


def _alike(roots: Mapping[Place, Axis]) -> dict[tuple[Place, ...], list[int]]:
    """Return the units that lie in the same places equally often, by these places."""
    lying: dict[int, list[tuple[Place, int]]] = defaultdict(list)
    for place, axis in roots.items():
        units, counts = np.unique(axis[axis != FIXED], return_counts=True)
        for unit, count in zip(units.tolist(), counts.tolist(), strict=True):
            lying[unit].append((place, count))
    alike: dict[tuple[tuple[Place, int], ...], list[int]] = defaultdict(list)
    for unit, places in lying.items():
        alike[tuple(places)].append(unit)
    return {tuple(place for place, _ in places): units for places, units in alike.items()}


def _channels(
    number: int, taken: set[str], units: Sequence[int], roots: Mapping[Place, Axis], producers: Sequence[Place], scales: Sequence[Place]
) -> Channels:
    of_first = roots[producers[0]]
    ordered = of_first[np.sort(np.unique(of_first, return_index=True)[1])]
    ordered = ordered[np.isin(ordered, units)]
    parts: list[Part] = []
    making: list[Producer] = []
    scaling: list[str] = []
    for name, dim in producers:
        grid = _grid(roots[name, dim], ordered)
        making.append(Producer(_named(parts, f"{name}[{number}]", name, dim, grid.reshape(-1), roots), dim, grid.shape[1]))
    for name, dim in scales:
        columns = _grid(roots[name, dim], ordered).T
        scaling += [_named(parts, f"{name}[{number},{index}]", name, dim, column, roots) for index, column in enumerate(columns)]
    path = _layer(producers[0][0])
    title = path if path not in taken else f"{path}[{number}]"
    return Channels(Group(title, len(ordered), 1, tuple(making), tuple(scaling)), ordered, tuple(parts))


def _grid(axis: Axis, units: Axis) -> Axis:
    """Return the positions of each unit in a dimension, (channels, positions)."""
    number = np.full(max(axis.max(), units.max()) + 1, -1)
    number[units] = np.arange(len(units))
    ours = np.flatnonzero(number[axis] >= 0)
    return ours[np.argsort(number[axis][ours], kind="stable")].reshape(len(units), -1)


def _named(parts: list[Part], title: str, name: str, dim: int, positions: Axis, roots: Mapping[Place, Axis]) -> str:
    """Return the name of a parameter's positions: its own where they are all, in order, else that of a new part."""
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


def readable(network: nn.Module, channels: Iterable[Channels]) -> nn.Module:
    """Return a network of the same tensors in which every producer and scale can be read by its name, the gradients of parts included."""
    twin = _shadow(network)
    for part in (part for one in channels for part in one.parts):
        path, _, name = part.name.rpartition(".")
        whole = network.get_parameter(part.parameter)
        chosen = torch.tensor(part.positions, device=whole.device)
        piece = nn.Parameter(whole.detach().index_select(part.dim, chosen), whole.requires_grad)
        piece.grad = None if whole.grad is None else whole.grad.index_select(part.dim, chosen)
        twin.get_submodule(path).register_parameter(name, piece)
    return twin


def _shadow(module: nn.Module) -> nn.Module:
    """Return a module with the same tensors whose tables of parameters and modules are its own."""
    twin = object.__new__(type(module))
    children = {name: None if child is None else _shadow(child) for name, child in module._modules.items()}
    twin.__dict__ = {**module.__dict__, "_parameters": dict(module._parameters), "_modules": children}
    return twin

"""Leaving out of a discriminator what its gates have closed: a channel that is zero wherever it is read need not be computed."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.parametrize import is_parametrized

from gcc.models.gate import ChannelGate, gates
from gcc.models.module_trace import ModuleTrace

ROUND = 16
"""Channels that are computed are filled up to a multiple of this with closed ones, which the gate zeroes: odd widths are slow."""
KEEP_ZERO = (nn.LeakyReLU, nn.ReLU)
"""Activations that make zeros of zeros."""


@dataclass(frozen=True)
class Chain:
    """A gate between the modules that make its channels and the convolution that alone reads them, by module path.

    Attributes:
        makers: a convolution, and the normalisation behind it, if any.
        gate: the gate.
        reader: a convolution.
    """

    makers: tuple[str, ...]
    gate: str
    reader: str


def find_chains(network: nn.Module, example: Tensor) -> list[Chain]:
    """Return the gates whose closed channels can be left out; of others, such as those before attention, all channels are computed.

    Args:
        network: a discriminator, which is run on meta and stays as it is.
        example: an input, (N, C, H, W), of which the shape alone counts.
    """
    stand_in = deepcopy(network).to("meta")
    example = torch.empty(example.shape, dtype=next(stand_in.parameters()).dtype, device="meta")
    trace = ModuleTrace(stand_in, example, (ChannelGate,))
    found = [chain for path in gates(stand_in) if (chain := _chain(trace, path))]
    return [chain for chain in found if _holds(stand_in, chain, example)]


def run_open(network: nn.Module, chains: Sequence[Chain], images: Tensor) -> Tensor:
    """Return what a network makes of images, with the closed channels of these chains left out; gradients are those of the whole.

    Running statistics stay as they are.
    """
    return cast(Tensor, _run(network, open_parameters(network, chains), images))


def _run(network: nn.Module, parameters: Mapping[str, Tensor], images: Tensor) -> Any:
    with warnings.catch_warnings():
        # Of instance norm, which does not need to know the number of channels.
        warnings.filterwarnings("ignore", message="input's size at dim=1 does not match num_features")
        return functional_call(network, dict(parameters), (images,))


def open_parameters(network: nn.Module, chains: Sequence[Chain]) -> dict[str, Tensor]:
    """Return parameters and buffers that leave closed channels out, by name, as `torch.func.functional_call` takes them."""
    modules = dict(network.named_modules())
    kept = {chain: index for chain in chains if (index := _kept(modules[chain.gate])) is not None}
    return _selected(modules, kept)


def _kept(gate: nn.Module) -> Tensor | None:
    """Return the channels to compute; none for all of them."""
    assert isinstance(gate, ChannelGate)
    is_open = gate.open()
    total, count = len(is_open), int(is_open.sum())
    most = max(ROUND, -(-count // ROUND) * ROUND)
    # Open ones come first; of the others any will do.
    return None if most >= total else is_open.to(torch.int8).argsort(descending=True, stable=True)[:most].sort().values


def _selected(modules: Mapping[str, nn.Module], kept: Mapping[Chain, Tensor]) -> dict[str, Tensor]:
    taken: dict[str, Tensor] = {}

    def take(path: str, dim: int, index: Tensor) -> None:
        own = {**dict(modules[path].named_parameters(recurse=False)), **dict(modules[path].named_buffers(recurse=False))}
        for name, tensor in own.items():
            if tensor.ndim > dim:
                whole = f"{path}.{name}"
                taken[whole] = taken.get(whole, tensor).index_select(dim, index)

    for chain, index in kept.items():
        for path in (*chain.makers, chain.gate):
            take(path, 0, index)
        take(chain.reader, 1, index)
    return taken


def _holds(network: nn.Module, chain: Chain, example: Tensor) -> bool:
    """Return whether the network runs without one of the gate's channels: whether nothing else reads them."""
    modules = dict(network.named_modules())
    gate = modules[chain.gate]
    assert isinstance(gate, ChannelGate)
    index = torch.arange(len(gate.alpha) - 1, device="meta")
    try:
        with torch.no_grad():
            _run(network, _selected(modules, {chain: index}), example)
    except RuntimeError:
        return False
    return True


def _chain(trace: ModuleTrace, gate: str) -> Chain | None:
    """Return the chain of a gate, if it has one."""
    makers, reader = _makers(trace, gate), _reader(trace, gate)
    return Chain(makers, gate, reader) if makers and reader else None


def _makers(trace: ModuleTrace, gate: str) -> tuple[str, ...]:
    path = trace.producer(gate)
    if path is None:
        return ()
    if _is_plain(trace.modules[path]):
        return (path,)
    before = trace.producer(path)
    sliceable = isinstance(trace.modules[path], nn.BatchNorm2d | nn.InstanceNorm2d)
    return (before, path) if sliceable and before and _is_plain(trace.modules[before]) else ()


def _reader(trace: ModuleTrace, gate: str) -> str | None:
    path = trace.reader(gate)
    while path and isinstance(trace.modules[path], KEEP_ZERO):
        path = trace.reader(path)
    return path if path and _is_plain(trace.modules[path]) else None


def _is_plain(module: nn.Module) -> bool:
    """Return whether a module is a convolution whose weight is a parameter of its own, with every channel read by every filter."""
    return isinstance(module, nn.Conv2d) and module.groups == 1 and not is_parametrized(module)

"""Runs a discriminator without its closed channels: a channel that is zero wherever it is read need not be computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from gcc.models.calls import shapes_of, tensors_in
from gcc.models.gate import ChannelGate, gates
from gcc.models.module_trace import ModuleTrace

ROUND = 16
"""The computed channels are padded to a multiple of this with closed ones, which the gate zeroes, since odd widths are slow."""
KEEP_ZERO = (nn.LeakyReLU, nn.ReLU)
"""Activations that map zero to zero."""
SLICEABLE_NORMS = (nn.BatchNorm2d, nn.InstanceNorm2d)
"""Norms that treat each channel on its own."""


@dataclass(frozen=True)
class Chain:
    """A gate, the modules that compute its channels, and the one convolution that reads them, by module path.

    Attributes:
        producers: a convolution, and the normalisation after it, if any.
        gate: the gate.
        reader: a convolution.
    """

    producers: tuple[str, ...]
    gate: str
    reader: str


def find_chains(network: nn.Module, example: Tensor) -> list[Chain]:
    """Return the chains whose closed channels can be skipped. Other gates, such as those before attention, need all channels.

    A network that does not run on meta, because its code depends on values, has none.

    Args:
        network: a discriminator. A copy of it runs on meta.
        example: an input, (N, C, H, W); only its shape counts.
    """
    copy = shapes_of(network)
    example = torch.empty(example.shape, dtype=next(copy.parameters()).dtype, device="meta")
    try:
        trace = ModuleTrace(copy, example, (ChannelGate, nn.Conv2d, *SLICEABLE_NORMS))
    except Exception:  # A user's module can raise anything.
        return []
    chains = [chain for path in gates(copy) if (chain := _chain(trace, path))]
    return [chain for chain in chains if _can_skip(copy, chain, example, _shapes(trace.output))]


def run_open(network: nn.Module, chains: Sequence[Chain], images: Tensor) -> Tensor:
    """Return a network's output for images without computing the closed channels of `chains`; gradients are those of the whole network.

    Running statistics of norms whose channels are skipped are not updated. Those of other norms are, and so is every batch counter.
    """
    return cast(Tensor, _run(network, channels_to_compute(network, chains), images))


def channels_to_compute(network: nn.Module, chains: Sequence[Chain]) -> dict[Chain, Tensor]:
    """Return the indices of the channels to compute, for every chain that can skip some."""
    modules = dict(network.named_modules())
    return {chain: index for chain in chains if (index := _channels_to_compute(modules[chain.gate])) is not None}


def _run(network: nn.Module, channels: Mapping[Chain, Tensor], images: Tensor) -> Any:
    """Return a network's output when only these channels of each chain are computed."""
    modules = dict(network.named_modules())
    with _narrow_instance_norms(modules, channels):
        return functional_call(network, _select(modules, channels), (images,))


@contextmanager
def _narrow_instance_norms(modules: Mapping[str, nn.Module], channels: Mapping[Chain, Tensor]) -> Iterator[None]:
    """Let instance norms expect as many channels as are computed: they refuse other numbers, or warn of them. Other norms do not count."""
    norms = [(modules[path], len(index)) for chain, index in channels.items() for path in chain.producers]
    before = [(norm, norm.num_features, count) for norm, count in norms if isinstance(norm, nn.InstanceNorm2d)]
    try:
        for norm, _, count in before:
            norm.num_features = count
        yield
    finally:
        for norm, count, _ in before:
            norm.num_features = count


def _channels_to_compute(gate: nn.Module) -> Tensor | None:
    """Return the indices of the channels to compute. None means all of them."""
    assert isinstance(gate, ChannelGate)
    is_open = gate.open()
    total, count = len(is_open), int(is_open.sum())
    rounded = max(ROUND, -(-count // ROUND) * ROUND)
    # All open channels, padded with any of the closed ones.
    return None if rounded >= total else is_open.to(torch.int8).argsort(descending=True, stable=True)[:rounded].sort().values


def _select(modules: Mapping[str, nn.Module], channels: Mapping[Chain, Tensor]) -> dict[str, Tensor]:
    """Return the tensors that shrink when only these channels of each chain are computed, by name."""
    selected: dict[str, Tensor] = {}

    def select(path: str, dim: int, index: Tensor) -> None:
        own = {**dict(modules[path].named_parameters(recurse=False)), **dict(modules[path].named_buffers(recurse=False))}
        for name, tensor in own.items():
            if tensor.ndim > dim:
                key = f"{path}.{name}"
                selected[key] = selected.get(key, tensor).index_select(dim, index)

    for chain, index in channels.items():
        for path in (*chain.producers, chain.gate):
            select(path, 0, index)
        select(chain.reader, 1, index)
    return selected


def _shapes(output: Any) -> list[torch.Size]:
    return [tensor.shape for tensor in tensors_in(output)]


def _can_skip(network: nn.Module, chain: Chain, example: Tensor, shapes: list[torch.Size]) -> bool:
    """Return whether the network runs without one of the gate's channels and returns the same shapes, so that nothing else reads them."""
    modules = dict(network.named_modules())
    gate = modules[chain.gate]
    assert isinstance(gate, ChannelGate)
    index = torch.arange(len(gate.alpha) - 1, device="meta")
    try:
        with torch.no_grad():
            return _shapes(_run(network, {chain: index}, example)) == shapes
    except Exception:  # A user's module can raise anything.
        return False


def _chain(trace: ModuleTrace, gate: str) -> Chain | None:
    """Return the chain of a gate, if it has one."""
    producers, reader = _producers(trace, gate), _reader(trace, gate)
    return Chain(producers, gate, reader) if producers and reader else None


def _producers(trace: ModuleTrace, gate: str) -> tuple[str, ...]:
    module = gate.rpartition(".")[0]
    # A gate that acts through a hook is a child of the module that it reads.
    path = module if isinstance(trace.modules[module], (nn.Conv2d, *SLICEABLE_NORMS)) else trace.producer(gate)
    if path is None:
        return ()
    if _is_plain(trace.modules[path]):
        return (path,)
    before = trace.producer(path)
    sliceable = isinstance(trace.modules[path], SLICEABLE_NORMS)
    return (before, path) if sliceable and before and _is_plain(trace.modules[before]) else ()


def _reader(trace: ModuleTrace, gate: str) -> str | None:
    path = trace.reader(gate)
    while path and _keeps_zero(trace.modules[path]):
        path = trace.reader(path)
    return path if path and _is_plain(trace.modules[path]) else None


def _keeps_zero(module: nn.Module) -> bool:
    """Return whether a module maps zero to zero; a subclass or a hook may compute something else."""
    return type(module) in KEEP_ZERO and not module._forward_pre_hooks and not module._forward_hooks


def _is_plain(module: nn.Module) -> bool:
    """Return whether a module is a convolution without groups that computes with its weight as it is, without spectral or weight norm."""
    return type(module) is nn.Conv2d and module.groups == 1 and not module._forward_pre_hooks

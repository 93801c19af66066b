"""Removes channels from a module: its parameters and buffers become shorter, and so do the sizes that layers store as attributes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gcc.models.calls import copy_of
from gcc.models.modules import CONVOLUTIONS, evaluating
from gcc.pruning.graph.aten_graph import arguments, operator_name, owner
from gcc.pruning.graph.channel_ids import Layout
from gcc.pruning.graph.groups import Selection
from gcc.pruning.graph.propagate import ChannelTrace, named_tensors
from gcc.pruning.graph.weight_norms import reparametrised_layers, restore, weight_of

Sizes = Sequence[int]


@torch.no_grad()
def cut(trace: ChannelTrace, network: nn.Module, selection: Selection) -> nn.Module:
    """Return a copy of a network that has only the selected positions.

    Args:
        trace: the trace of the network's graph.
        network: the traced network or a copy of it, on any device; it is not changed.
        selection: the positions to keep.
    """
    smaller = copy_of(network)
    with evaluating(smaller):
        weights = {path: weight_of(smaller.get_submodule(path)) for path in reparametrised_layers(smaller)}
    tensors = named_tensors(smaller)
    shorter = {id(tensors[one.name]): _shortened(tensors[one.name], one.layout, selection) for one in trace.tensors}
    for module in smaller.modules():
        for table in (module._parameters, module._buffers):
            table.update((name, shorter[id(tensor)]) for name, tensor in table.items() if id(tensor) in shorter)  # type: ignore[misc]
    sizes = _sizes(trace, selection)
    for path, module in smaller.named_modules():
        for name, value in (sizes[path] if path in sizes else _sizes_of_weight(module)).items():
            setattr(module, name, value)
    for (path, name), axes in trace.stored_sizes.items():
        widths = {selection.size(axis) for axis in axes}
        if len(widths) == 1:
            setattr(smaller.get_submodule(path), name, widths.pop())
    if weights:
        with evaluating(smaller):
            for path, layout in _weights(trace).items():
                if path in weights:
                    restore(smaller.get_submodule(path), _shortened(weights[path], layout, selection))
    return smaller


def _weights(trace: ChannelTrace) -> dict[str, Layout]:
    """Return the layouts of the weights that layers compute with, by the layer's first path."""
    calls = [
        node
        for graph in trace.graphs
        for node in graph.calls
        if operator_name(node) in ATTRIBUTES and arguments(node).get("weight") is not None
    ]
    first = _first_paths(trace.graph.network)
    return {first[owner(node)[0]]: trace.layout(arguments(node)["weight"]) for node in calls}


def _first_paths(network: nn.Module) -> dict[str, str]:
    """Return the first path of every module by each of its paths."""
    first: dict[int, str] = {}
    return {path: first.setdefault(id(module), path) for path, module in network.named_modules(remove_duplicate=False)}


def _shortened(tensor: Tensor, layout: Layout, selection: Selection) -> Tensor:
    shorter = tensor.detach()
    for dim, axis in enumerate(layout):
        positions = selection.positions(axis)
        if len(positions) < len(axis):
            shorter = shorter.index_select(dim, torch.tensor(positions, device=tensor.device))
    return nn.Parameter(shorter, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else shorter


def _sizes(trace: ChannelTrace, selection: Selection) -> dict[str, dict[str, Any]]:
    """Return the new values of the attributes in which layers store sizes, by the layer's first path."""
    attributes: dict[str, dict[str, Any]] = {}
    first = _first_paths(trace.graph.network)
    for node in (node for graph in trace.graphs for node in graph.calls):
        kinds, sizes = ATTRIBUTES.get(operator_name(node), ((), _none))
        path = owner(node)[0]
        module = trace.graph.network.get_submodule(path)
        # Samples that are folded into channels are groups of the call alone; the layer's sizes are then those of its weight.
        if isinstance(module, kinds) and arguments(node).get("groups", 1) == getattr(module, "groups", 1):
            before, after = ([selection.size(axis) for axis in trace.layout(end)] for end in (node.all_input_nodes[0], node))
            attributes[first[path]] = sizes(module, before, after)
    return attributes


def _sizes_of_weight(module: nn.Module) -> dict[str, Any]:
    """Return the attributes of a layer whose weight other code uses: it does not run itself."""
    weight = module._parameters.get("weight")
    if weight is None or not isinstance(module, (nn.Linear, nn.Embedding, *CONVOLUTIONS)):
        return {}
    if isinstance(module, nn.Embedding):
        return {"num_embeddings": weight.shape[0], "embedding_dim": weight.shape[1]}
    if isinstance(module, nn.Linear):
        return {"in_features": weight.shape[1], "out_features": weight.shape[0]}
    inputs, outputs = (0, 1) if module.transposed else (1, 0)
    return {"in_channels": weight.shape[inputs], "out_channels": weight.shape[outputs]} if module.groups == 1 else {}


def _convolution(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    channel = -1 - len(module.kernel_size)
    groups = module.groups * after[channel] // module.out_channels if module.groups > 1 else 1
    return {"in_channels": before[channel], "out_channels": after[channel], "groups": groups}


def _linear(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    return {"in_features": before[-1], "out_features": after[-1]}


def _channel_norm(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    return {"num_features": before[1]}


def _group_norm(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    groups = module.num_groups * before[1] // module.num_channels if module.num_groups > 1 else 1
    return {"num_channels": before[1], "num_groups": groups}


def _layer_norm(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    return {"normalized_shape": tuple(before[-len(module.normalized_shape) :])}


def _prelu(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    return {"num_parameters": before[1] if module.num_parameters > 1 else 1}


def _unflatten(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    dim = module.dim % len(before)
    return {} if -1 in module.unflattened_size else {"unflattened_size": tuple(after[dim : dim + len(module.unflattened_size)])}


def _embedding(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    return {"embedding_dim": after[-1]}


def _none(module: Any, before: Sizes, after: Sizes) -> dict[str, Any]:
    return {}


ATTRIBUTES: dict[str, tuple[tuple[type[nn.Module], ...], Callable[[Any, Sizes, Sizes], dict[str, Any]]]] = {
    **{f"conv{transpose}{rank}d": (CONVOLUTIONS, _convolution) for transpose in ("", "_transpose") for rank in (1, 2, 3)},
    "linear": ((nn.Linear,), _linear),
    "batch_norm": ((nn.modules.batchnorm._NormBase,), _channel_norm),
    "instance_norm": ((nn.modules.batchnorm._NormBase,), _channel_norm),
    "group_norm": ((nn.GroupNorm,), _group_norm),
    "layer_norm": ((nn.LayerNorm,), _layer_norm),
    "rms_norm": ((nn.RMSNorm,), _layer_norm),
    "prelu": ((nn.PReLU,), _prelu),
    "unflatten": ((nn.Unflatten,), _unflatten),
    "embedding": ((nn.Embedding,), _embedding),
}
"""By the operator that a layer calls: the modules that store sizes, and a function from the kept sizes of input and output to those."""

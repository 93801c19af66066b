"""Weights that code computes from stored tensors: pruning masks, learned gains, scaled layers, hand-written norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from gcc.pruning.graph.aten_graph import Graph, arguments, operator_name
from gcc.pruning.graph.layer_rules import convolution, linear
from gcc.pruning.graph.propagate import named_tensors
from gcc.pruning.graph.rules import RULES
from gcc.registry.stored_weights import effective_weight


@torch.no_grad()
def computed_weights(graph: Graph, network: nn.Module) -> dict[str, Tensor]:
    """Return the weights of convolutions and linear layers that code computes, by the parameter that each is stored as.

    A weight is stored as the only parameter of its shape that it is computed from. Weights that depend on the input are left out, as are
    those that parametrisations and the hooks of torch's norms compute, which `effective_weight` knows.

    Args:
        graph: the graph of the code.
        network: the network whose tensors it computes with.
    """
    tensors = named_tensors(network)
    stored = {node: (kind, str(name)) for node, kind, name in graph.inputs() if kind in (InputKind.PARAMETER, InputKind.BUFFER)}
    # Code may write into tensors, which belong to the network.
    known = {node: tensors[name].detach().clone() for node, (_, name) in stored.items()}
    weights: dict[str, Tensor] = {}
    for call in graph.calls:
        weight = arguments(call)["weight"] if RULES.get(operator_name(call)) in (convolution, linear) else None
        if not isinstance(weight, fx.Node) or weight in stored or not (sources := _sources(weight)) <= stored.keys():
            continue
        names = {stored[node][1] for node in sources if stored[node][0] is InputKind.PARAMETER}
        names = {name for name in names if tensors[name].shape == weight.meta["val"].shape}
        if len(names) == 1 and effective_weight(network, name := names.pop()) is tensors[name]:
            weights[name] = _value(weight, known)
    return weights


def _sources(node: fx.Node) -> set[fx.Node]:
    """Return the nodes without inputs that a node is computed from."""
    seen, pending = {node}, [node]
    while pending:
        new = set(pending.pop().all_input_nodes) - seen
        seen |= new
        pending += new
    return {one for one in seen if not one.all_input_nodes}


def _value(node: fx.Node, known: dict[fx.Node, Tensor]) -> Any:
    """Return the value of a node, given those of the inputs that it is computed from."""
    if node not in known:
        values: Any = fx.node.map_arg((node.args, node.kwargs), lambda other: _value(other, known))
        operator: Any = node.target
        known[node] = operator(*values[0], **values[1])
    return known[node]

"""Gains that code computes from a width, as layers with an equalised learning rate do: the parameters of a smaller network absorb them."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from gcc.pruning.graph.aten_graph import Graph, operator_name

PRODUCTS, QUOTIENTS = ("mul", "multiply"), ("div", "divide", "true_divide")
HOMOGENEOUS = (*PRODUCTS, *QUOTIENTS, "neg", "view", "reshape", "permute", "transpose", "t", "unsqueeze", "flatten", "contiguous", "clone")
"""Operators whose output is scaled like their first input."""


@torch.no_grad()
def fold_gains(smaller: nn.Module, full: Graph, graph: Graph) -> set[fx.Node]:
    """Scale the parameters of a smaller network so that gains which its code computes from its widths have the effect of the full ones.

    Only gains of a parameter are folded, not those of features, such as the square root in attention.

    Args:
        smaller: the smaller network, which is changed.
        full: the graph of the full network.
        graph: the graph of the smaller network, with the same steps.

    Returns:
        The calls of the full graph that apply these gains.
    """
    parameters = {node: name for node, kind, name in graph.inputs() if kind is InputKind.PARAMETER}
    # Code may also read a parameter for its shape; such calls are not among these.
    calls = set(graph.calls)
    folded: set[fx.Node] = set()
    for node, other in zip(full.steps(), graph.steps(), strict=True):
        name = operator_name(node)
        if name not in (*PRODUCTS, *QUOTIENTS) or len(node.args) != 2:
            continue
        before, after = node.args[1], other.args[1]
        source = _source(other.args[0], parameters, calls)
        if source is None or not isinstance(before, int | float) or not isinstance(after, int | float) or 0 in (before, after):
            continue
        if before != after:
            smaller.get_parameter(str(parameters[source])).mul_(before / after if name in PRODUCTS else after / before)
            folded.add(node)
    return folded


def _source(node: object, parameters: dict[fx.Node, str | None], calls: set[fx.Node]) -> fx.Node | None:
    """Return the parameter that a node scales like, if nothing else reads it or what is computed on the way."""
    while isinstance(node, fx.Node) and len(calls & node.users.keys()) == 1:
        if node in parameters:
            return node
        if node.op != "call_function" or operator_name(node) not in HOMOGENEOUS:
            return None
        node = node.args[0]
    return None

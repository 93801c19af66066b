"""Gains that code computes from a width, as layers with an equalised learning rate do: the parameters of a smaller network absorb them."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import fx, nn
from torch.export.graph_signature import InputKind

from gcc.pruning.graph.aten_graph import Graph, arguments, describe_call, operator_name
from gcc.pruning.graph.layer_rules import elementwise
from gcc.pruning.graph.rules import RULES

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


def changed_numbers(full: Graph, graph: Graph, folded: Collection[fx.Node]) -> list[str]:
    """Describe the calls that use another number in the smaller network, because code computes it from a width.

    Args:
        full: the graph of the full network.
        graph: the graph of the smaller network, with the same steps.
        folded: calls of the full graph whose numbers the smaller network's weights absorb.
    """
    lines = {}
    for node, other in zip(full.steps(), graph.steps(), strict=True):
        if node in folded:
            continue
        for before, after in zip(_numbers(node), _numbers(other), strict=True):
            if before != after:
                lines[describe_call(node)] = f"{before:.4g} becomes {after:.4g} at {describe_call(node)}"
    return list(lines.values())


def _numbers(node: fx.Node) -> list[int | float]:
    """Return the numbers of a call that scale or shift features, as opposed to sizes."""
    name = operator_name(node)
    if name == "scaled_dot_product_attention":
        values = arguments(node)
        return [values["query"].meta["val"].shape[-1] ** -0.5 if values["scale"] is None else values["scale"]]
    if RULES.get(name) is not elementwise:
        return []
    return [value for value in (*node.args, *node.kwargs.values()) if isinstance(value, int | float)]


def _source(node: object, parameters: dict[fx.Node, str | None], calls: set[fx.Node]) -> fx.Node | None:
    """Return the parameter that a node scales like, if nothing else reads it or what is computed on the way."""
    while isinstance(node, fx.Node) and len(calls & node.users.keys()) == 1:
        if node in parameters:
            return node
        if node.op != "call_function" or operator_name(node) not in HOMOGENEOUS:
            return None
        node = node.args[0]
    return None

"""Forward hooks of layers in a graph, which has the layers' operators in place of their calls."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from gcc.pruning.graph.aten_graph import arguments

Stack = dict[str, Any]
"""The calls of layers around an operator, the outermost first: the path and the type of the layer by a name of the call."""


def run_hooks(layers: Mapping[str, nn.Module], path: str, inputs: tuple[Any, ...], output: Any) -> Any:
    """Run the forward hooks of a layer on its output.

    Args:
        layers: the layers by path.
        path: the path of the layer.
        inputs: what hooks get as the layer's inputs.
        output: the output.

    Returns:
        The output, or what the last hook returned that does not return None.
    """
    layer = layers[path]
    for key, hook in tuple(layer._forward_hooks.items()) if layer._forward_hooks else ():
        takes_keywords = key in layer._forward_hooks_with_kwargs
        result = hook(layer, inputs, {}, output) if takes_keywords else hook(layer, inputs, output)
        output = output if result is None else result
    return output


class _Call(NamedTuple):
    """One call of a layer in a graph.

    Attributes:
        path: the path of the layer.
        outer: the calls around this one.
        nodes: the nodes of the call in order, as keys.
    """

    path: str
    outer: Stack
    nodes: dict[fx.Node, None]

    def inputs(self) -> tuple[fx.Node, ...]:
        """Return the tensors from outside that the call reads, in the order in which it reads them; not parameters and buffers."""
        read = dict.fromkeys(node for inner in self.nodes for node in inner.all_input_nodes)
        return tuple(node for node in read if node not in self.nodes and _is_tensor(node) and _origin(node).op != "get_attr")

    def output(self) -> fx.Node | None:
        """Return the only tensor that the call computes and that other code reads; None if there are several or none.

        A tensor from outside that the call changes in place is not its output if there is another one.
        """
        outputs = [node for node in self.nodes if _is_tensor(node) and any(map(self.is_reader, node.users))]
        if len(outputs) > 1:
            outputs = [node for node in outputs if _origin(node) in self.nodes]
        return outputs[0] if len(outputs) == 1 else None

    def is_reader(self, node: fx.Node) -> bool:
        """Return whether a node is outside of the call and reads values, not only sizes."""
        return node not in self.nodes and (node.op == "output" or isinstance(node.meta.get("val"), Tensor | list | tuple))


def insert_hooks(graph: fx.Graph, layers: str, paths: Collection[str]) -> None:
    """Let a graph run the forward hooks that layers have when it runs.

    A layer's hooks run after every call of it. They get the tensors that the layer reads, apart from parameters and buffers, and its output
    at that point. They run for layers and containers with operators of their own from which other code reads a single tensor. If a layer
    works in place, what a hook returns also replaces the input that the layer overwrote.

    Args:
        graph: the graph, with the metadata of torch.export.
        layers: the attribute in which the module that the graph runs on has its layers by path.
        paths: the paths of the layers.
    """
    with graph.inserting_before():
        by_path = graph.create_node("get_attr", layers)
    depth = max((len(_stack(node)) for node in graph.nodes), default=0)
    while depth:
        depth -= 1
        for call in _calls(graph, depth):
            output = call.output() if call.path in paths else None
            if output is not None:
                _insert(by_path, call, output)


def _calls(graph: fx.Graph, depth: int) -> Iterator[_Call]:
    """Return the calls of layers that have `depth` calls around them."""
    calls: dict[str, _Call] = {}
    for node in graph.nodes:
        stack = _stack(node)
        if len(stack) > depth:
            key, (path, _) = list(stack.items())[depth]
            outer = dict(list(stack.items())[:depth])
            calls.setdefault(key, _Call(re.sub(r"@\d+", "", path), outer, {})).nodes[node] = None
    return iter(calls.values())


def _insert(layers: fx.Node, call: _Call, output: fx.Node) -> None:
    """Insert the call of a layer's hooks after its last node."""
    readers = [node for node in output.users if call.is_reader(node)]
    with output.graph.inserting_after(next(reversed(call.nodes))):
        hooked = output.graph.call_function(run_hooks, (layers, call.path, call.inputs(), output))
    hooked.meta = {"val": output.meta["val"], "nn_module_stack": call.outer}
    for reader in readers:
        reader.replace_input_with(output, hooked)


def _stack(node: fx.Node) -> Stack:
    return node.meta.get("nn_module_stack") or {}


def _origin(node: fx.Node) -> fx.Node:
    """Return the node that computed a tensor before it was changed in place or detached, and before its hooks ran."""
    while (before := _before(node)) is not None:
        node = before
    return node


def _before(node: fx.Node) -> fx.Node | None:
    """Return the tensor that a call changes or detaches, or the output that it runs hooks on; None if it returns another tensor."""
    if node.target is run_hooks:
        value = node.args[3]
    elif node.target is torch.ops.aten.detach.default:
        value = node.args[0]
    else:
        schema = node.target._schema.arguments if isinstance(node.target, torch._ops.OpOverload) else []
        changed = [argument.name for argument in schema if argument.alias_info is not None and argument.alias_info.is_write]
        value = arguments(node)[changed[0]] if len(changed) == 1 else None
    return value if isinstance(value, fx.Node) else None


def _is_tensor(node: fx.Node) -> bool:
    return isinstance(node.meta.get("val"), Tensor)

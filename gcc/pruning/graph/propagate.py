"""Propagates channel ids through a graph: which positions of a network's tensors must be removed together.

At first, every position of every dimension of every parameter and buffer is an atom of its own. One pass over the graph ties atoms by the
rules of `gcc.pruning.graph.rules`, and fixes those that reach the network's inputs and outputs. Each unit that remains is a channel that
can be removed. `channel_ids` explains these words.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Collection, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves

from gcc.errors import GccError
from gcc.models.modules import CONVOLUTIONS
from gcc.pruning.graph.aten_graph import Graph, arguments, describe_call, line_of_code, operator_name, owner
from gcc.pruning.graph.call import Call, Roles, Rule, RuleOutput
from gcc.pruning.graph.channel_ids import Atoms, Axis, Layout, fixed
from gcc.pruning.graph.rules import RULES, WEIGHT_RULES

RESHAPING = ("view", "reshape", "unflatten", "expand", "_unsafe_view")
"""Operators to which code may pass a size that a module stores."""

RANGES = ("slice", "narrow")
"""Operators that take a range of a dimension."""

HINT = "replace it by others, or move it to a module of its own and name that module in `leave`, so that the channels around it are kept"

Nodes = dict[fx.Node, RuleOutput]


@dataclass(frozen=True)
class NamedLayout:
    """A parameter or buffer that the graph reads.

    Attributes:
        name: its name in the network.
        layout: its atoms.
    """

    name: str
    layout: Layout


def named_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network by each of their names."""
    return {**dict(network.named_parameters(remove_duplicate=False)), **dict(network.named_buffers(remove_duplicate=False))}


def first_names(network: nn.Module) -> dict[str, str]:
    """Return the first name of every parameter and buffer by each of its names."""
    first: dict[int, str] = {}
    return {name: first.setdefault(id(tensor), name) for name, tensor in named_tensors(network).items()}


class ChannelTrace:
    """The channels of a network, followed through its graph.

    Args:
        graph: the network's graph in evaluation mode.
        leave: paths of modules; channels that enter or leave them are kept.
        rules: rule of each operator, by name.
        training: the network's graph in training mode, if that has layers or outputs of its own.
        follow_attributes: whether numbers that modules store and that equal a size are taken for that size.

    Attributes:
        graph: the graph in evaluation mode.
        graphs: both graphs, or this one alone.
        atoms: which positions are tied.
        roles: what layers do with atoms.
        nodes: layouts by node of the graph.
        tensors: layouts of the parameters and buffers that the graph reads.
        weights: the nodes that depend on parameters and buffers alone.
        stored_sizes: the dimensions whose size a module stores, by the module's path and the attribute.
        walls: the calls of operators without a rule that prunable channels enter; these channels are kept.

    Raises:
        GccError: the size of a tensor depends on values; the message names the layer.
    """

    def __init__(
        self,
        graph: Graph,
        leave: Collection[str] = (),
        rules: Mapping[str, Rule] = RULES,
        training: Graph | None = None,
        follow_attributes: bool = False,
    ) -> None:
        self.graph = graph
        self.graphs = [graph] if training is None else [graph, training]
        self._rules = rules
        self.atoms = Atoms()
        self.roles = Roles()
        self.nodes: Nodes = {}
        self.tensors: list[NamedLayout] = []
        self.weights: set[fx.Node] = set()
        self.walls: list[fx.Node] = []
        self._opaque = set(leave)
        self._layouts: dict[str, Layout] = {}
        for one in self.graphs:
            self._follow_graph(one)
        self.stored_sizes = self._stored_sizes() if follow_attributes else {}

    def continued(self, graph: Graph) -> ChannelTrace:
        """Return the trace of another graph of the network, of another shape or mode, whose parameters have the same atoms.

        Raises:
            GccError: channels enter an operator without a rule.
        """
        other = copy(self)
        other.graph, other.graphs, other.atoms, other.roles = graph, [graph], deepcopy(self.atoms), Roles()
        other.nodes, other.tensors, other._layouts = {}, list(self.tensors), dict(self._layouts)
        other._follow_graph(graph)
        return other

    def _follow_graph(self, graph: Graph) -> None:
        first = first_names(graph.network)
        for node, kind, name in graph.inputs():
            self._enter(node, kind, name, first)
        for node in graph.calls:
            self.nodes[node] = self._follow(node)
        for node in graph.outputs():
            self.atoms.fix(*self.layout(node))

    def layout(self, node: fx.Node) -> Layout:
        """Return the layout of the tensor that a node returns."""
        layout = self.nodes[node]
        assert isinstance(layout, tuple)
        return layout

    def _enter(self, node: fx.Node, kind: InputKind, name: str | None, first: Mapping[str, str]) -> None:
        shape = node.meta["val"].shape if isinstance(node.meta.get("val"), Tensor) else ()
        if kind not in (InputKind.PARAMETER, InputKind.BUFFER) or not node.users:
            self.nodes[node] = fixed(shape)
            return
        assert name is not None
        self.weights.add(node)
        first_name = first.get(name, name)
        if first_name in self._layouts:
            self.nodes[node] = self._layouts[first_name]
            return
        layer = self.graph.network.get_submodule(name.partition(".parametrizations.")[0] if "parametrizations" in name else _parent(name))
        # The positions of a kernel are not channels, and spectral norm flattens them together with the input channels.
        free = 2 if isinstance(layer, CONVOLUTIONS) else len(shape)
        layout = (*self.atoms.fresh(shape[:free]), *fixed(shape[free:]))
        self.nodes[node] = self._layouts[first_name] = layout
        self.tensors.append(NamedLayout(name, layout))

    def _follow(self, node: fx.Node) -> RuleOutput:
        if node.all_input_nodes and self.weights.issuperset(node.all_input_nodes):
            self.weights.add(node)
        if node.target is operator.getitem:
            layouts = self.nodes[node.args[0]]  # type: ignore[index]
            return layouts[node.args[1]] if isinstance(layouts, list) else layouts  # type: ignore[index]
        value = node.meta.get("val")
        shapes = [tensor.shape for tensor in tree_leaves(value) if isinstance(tensor, Tensor)]
        if not all(isinstance(size, int) for shape in shapes for size in shape):
            raise GccError(f"{describe_call(node)}: the size of what this returns depends on the values of a tensor; {HINT}")
        rules = {**self._rules, **WEIGHT_RULES} if node in self.weights else self._rules
        rule = None if self._is_opaque(node) else rules.get(operator_name(node))
        if rule is None or not isinstance(node.target, torch._ops.OpOverload):
            return self._wall(node, shapes)
        inputs = {name: self._as_layouts(value) for name, value in arguments(node).items()}
        try:
            output = rule(Call(operator_name(node), inputs, shapes, self.atoms, self.roles))
        except (IndexError, KeyError, TypeError, ValueError):
            return self._wall(node, shapes)
        return output if not shapes or _sizes(output) == [list(shape) for shape in shapes] else self._wall(node, shapes)

    def _as_layouts(self, value: Any) -> Any:
        """Return an argument with layouts instead of tensors."""
        if isinstance(value, list | tuple):
            return [self._as_layouts(item) for item in value]
        return self.nodes[value] if isinstance(value, fx.Node) else value

    def _wall(self, node: fx.Node, shapes: Sequence[Sequence[int]]) -> RuleOutput:
        """Return the layouts of a call that is not followed: all positions that enter it are fixed."""
        axes = [axis for one in node.all_input_nodes for layout in _layouts(self.nodes[one]) for axis in layout]
        if not self._is_opaque(node) and any(self.atoms.prunable(axis) for axis in axes):
            self.walls.append(node)
        self.atoms.fix(*axes)
        layouts = [fixed(shape) for shape in shapes]
        return layouts[0] if isinstance(node.meta.get("val"), Tensor) else layouts

    def _stored_sizes(self) -> dict[tuple[str, str], list[Axis]]:
        """Return the attributes of the user's modules that equal a size of a tensor that these modules give another shape, or of a range.

        If the line of code names some of them, others have this value by chance. It must name those that limit a range.
        """
        sizes: dict[tuple[str, str], list[Axis]] = {}
        for node in (node for graph in self.graphs for node in graph.calls):
            path = owner(node)[0]
            module = self.graph.network.get_submodule(path)
            if type(module).__module__.partition(".")[0] != "torch":
                for axis in (axis for axis in self._passed_sizes(node) if self.atoms.prunable(axis)):
                    names = [name for name, value in vars(module).items() if type(value) is int and value == len(axis)]
                    named = set(re.findall(r"\w+", line_of_code(node))).intersection(names)
                    for name in named or (names if operator_name(node) in RESHAPING else ()):
                        sizes.setdefault((path, name), []).append(axis)
        return sizes

    def _passed_sizes(self, node: fx.Node) -> Sequence[Axis]:
        """Return the dimensions whose sizes code may pass to a call: those of a shape, or that of a range with an end."""
        if operator_name(node) in RESHAPING:
            return self.layout(node)
        if operator_name(node) not in RANGES:
            return ()
        call = arguments(node)
        whole = self.layout(node.all_input_nodes[0])[call["dim"]]
        has_end = "length" in call or (call["end"] is not None and call["end"] < len(whole))
        return (self.layout(node)[call["dim"]],) if has_end else ()

    def _is_opaque(self, node: fx.Node) -> bool:
        path = owner(node)[0]
        return any(path == opaque or path.startswith(f"{opaque}.") for opaque in self._opaque)


def _layouts(output: RuleOutput) -> list[Layout]:
    return output if isinstance(output, list) else [output]


def _sizes(output: RuleOutput) -> list[list[int]]:
    return [[len(axis) for axis in layout] for layout in _layouts(output)]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]

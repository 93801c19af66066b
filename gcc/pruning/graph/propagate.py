"""Which positions of a network's tensors stand or fall together.

Every dimension of every parameter and buffer starts with an atom for each of its positions. One walk along the graph ties those that must
go together, by the rules of `operators`; what reaches the network's inputs and outputs stays. Of what is left, positions that are tied are
one unit: a channel that can be cut.
"""

from __future__ import annotations

import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from gcc.errors import GccError
from gcc.pruning.graph.channel_ids import Atoms, Layout, fixed
from gcc.pruning.graph.export import Graph, arguments, operator_name, owner, place
from gcc.pruning.graph.rules import RULES, Call, Roles, Rule, RuleOutput
from gcc.pruning.groups import CONVOLUTIONS

WHOLE = (nn.MultiheadAttention,)
"""Modules whose sizes are too entangled for a cut: channels that enter or leave them stay."""

HINT = "write it with others, or put it into a module of its own and name that in `leave`, so that the channels around it stay"

Nodes = dict[fx.Node, RuleOutput]


@dataclass(frozen=True)
class Held:
    """A parameter or buffer that the graph reads.

    Attributes:
        name: its name in the network.
        layout: its atoms.
    """

    name: str
    layout: Layout


def held_by(network: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network by every name that they have."""
    return {**dict(network.named_parameters(remove_duplicate=False)), **dict(network.named_buffers(remove_duplicate=False))}


class Trace:
    """What a graph tells about channels.

    Args:
        graph: of the network.
        leave: paths of modules; channels that enter or leave them stay.
        rules: what operators do.

    Raises:
        GccError: an operator has no rule, and channels enter it; the message names the layer.
    """

    def __init__(self, graph: Graph, leave: Collection[str] = (), rules: Mapping[str, Rule] = RULES) -> None:
        self.graph = graph
        self._rules = rules
        self.atoms = Atoms()
        self.roles = Roles()
        self.nodes: Nodes = {}
        self.held: list[Held] = []
        self._whole = {path for path, module in graph.network.named_modules() if isinstance(module, WHOLE)} | set(leave)
        for node, kind, name in graph.inputs():
            self._enter(node, kind, name)
        for node in graph.calls:
            self.nodes[node] = self._follow(node)
        for node in graph.outputs():
            self.atoms.fix(*self.layout(node))

    def layout(self, node: fx.Node) -> Layout:
        """Return the layout of the tensor that a node makes."""
        made = self.nodes[node]
        assert isinstance(made, tuple)
        return made

    def _enter(self, node: fx.Node, kind: InputKind, name: str | None) -> None:
        shape = node.meta["val"].shape if isinstance(node.meta.get("val"), Tensor) else ()
        if kind not in (InputKind.PARAMETER, InputKind.BUFFER) or not node.users:
            self.nodes[node] = fixed(shape)
            return
        assert name is not None
        layer = self.graph.network.get_submodule(name.partition(".parametrizations.")[0] if "parametrizations" in name else _parent(name))
        # A kernel's positions are no channels, and spectral norm joins them with those that are.
        free = 2 if isinstance(layer, CONVOLUTIONS) else len(shape)
        layout = (*self.atoms.fresh(shape[:free]), *fixed(shape[free:]))
        self.nodes[node] = layout
        self.held.append(Held(name, layout))

    def _follow(self, node: fx.Node) -> RuleOutput:
        if node.target is operator.getitem:
            made = self.nodes[node.args[0]]  # type: ignore[index]
            return made[node.args[1]] if isinstance(made, list) else made  # type: ignore[index]
        if not isinstance(node.target, torch._ops.OpOverload):
            raise GccError(f"{place(node)}: channels cannot be followed through this operator; {HINT}")
        name, given = operator_name(node), {name: self._given(value) for name, value in arguments(node).items()}
        value = node.meta.get("val")
        tensors = [value] if isinstance(value, Tensor) else list(value or ()) if isinstance(value, list | tuple) else []
        call = Call(name, given, [tensor.shape for tensor in tensors], self.atoms, self.roles)
        if self._is_whole(node) or name not in self._rules:
            return self._left(node, call)
        try:
            return self._rules[name](call)
        except (IndexError, KeyError, TypeError, ValueError) as error:
            raise GccError(
                f"{place(node)}: channels cannot be followed through this operator with such arguments ({error}); {HINT}"
            ) from error

    def _given(self, value: Any) -> Any:
        """Return an argument with layouts in the place of tensors."""
        if isinstance(value, list | tuple):
            return [self._given(one) for one in value]
        return self.nodes[value] if isinstance(value, fx.Node) else value

    def _left(self, node: fx.Node, call: Call) -> RuleOutput:
        """Return the layouts of what is not followed: all positions that enter stay."""
        axes = [axis for tensor in call.tensors for axis in tensor]
        if not self._is_whole(node) and any(self.atoms.prunable(axis) for axis in axes):
            raise GccError(f"{place(node)}: channels cannot be followed through this operator; {HINT}")
        self.atoms.fix(*axes)
        made = [fixed(shape) for shape in call.shapes]
        return made[0] if isinstance(node.meta.get("val"), Tensor) else made

    def _is_whole(self, node: fx.Node) -> bool:
        path = owner(node)[0]
        return any(path == one or path.startswith(f"{one}.") for one in self._whole)


def _parent(name: str) -> str:
    return name.rpartition(".")[0]

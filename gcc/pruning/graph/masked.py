"""Runs the graph of a full network with zeros for every removed channel: the reference of a smaller network.

A few operators, such as layer norm, combine channels other than by sums; they get only the channels that are kept, as in the smaller
network. Weights under spectral or weight norm are those that the full network computes with, although what is kept of them has a different
norm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves, tree_map_only

from gcc.errors import GccError
from gcc.models.calls import Arguments, copies, tensors_in
from gcc.models.modules import without_autocast
from gcc.pruning.graph.aten_graph import Graph, arguments, describe_call, operator_name
from gcc.pruning.graph.call import RuleOutput
from gcc.pruning.graph.channel_ids import Layout
from gcc.pruning.graph.groups import Selection
from gcc.pruning.graph.layer_rules import elementwise
from gcc.pruning.graph.propagate import HINT, ChannelTrace, first_names, named_tensors
from gcc.pruning.graph.rules import RULES, STATISTICS
from gcc.pruning.graph.weight_norms import reparametrised_layers
from gcc.utils.backend import float32_precision

TRAINING_FLAGS = ("training", "train", "use_input_stats")
"""Names of the arguments by which operators get the mode."""


class CallArguments(NamedTuple):
    """The arguments of a call in the graph of the smaller network."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Reference:
    """What a smaller network must compute.

    Attributes:
        trace: the trace of the full network's graph.
        selection: the positions that the smaller network has.
        counterparts: the arguments of the smaller network's calls by the full network's call.
        folded: calls of the full graph whose numbers the weights of the smaller network contain.
        training: whether the networks are in training mode; the graph may be that of evaluation mode, whose norms and dropout then train.
        widens_constants: whether float64 replaces float32 where the graph has it as a constant.
    """

    trace: ChannelTrace
    selection: Selection
    counterparts: Mapping[fx.Node, CallArguments]
    folded: Collection[fx.Node] = ()
    training: bool = False
    widens_constants: bool = False

    @classmethod
    def of(cls, trace: ChannelTrace, selection: Selection, graph: Graph, folded: Collection[fx.Node] = ()) -> Reference:
        """Return the reference of a smaller network with the same steps in its graph."""
        pairs = zip(trace.graph.steps(), graph.steps(), strict=True)
        return cls(trace, selection, {node: CallArguments(other.args, dict(other.kwargs)) for node, other in pairs}, folded)

    def unmasked(self) -> Reference:
        """Return what the full network computes."""
        reference = Reference.of(self.trace, Selection(self.trace.atoms, (), {}), self.trace.graph)
        return replace(reference, training=self.training)

    def run(self, network: nn.Module, samples: Arguments) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the outputs of the full network without the removed channels, and its parameters and buffers after that.

        Args:
            network: the full network, or one with other parameters; it is not changed.
            samples: its arguments.
        """
        masked = _MaskedNetwork(self, network)
        with repeatable():
            return masked(*samples), masked.tensors

    def depends(self) -> list[bool]:
        """Return whether each output is computed from a tensor with removed positions."""
        reached: set[fx.Node] = set()
        for node in self.trace.graph.module.graph.nodes:
            layouts = layouts_of(self.trace.nodes.get(node))
            if reached.intersection(node.all_input_nodes) or any(
                not self.selection.mask(axis).all() for layout in layouts for axis in layout
            ):
                reached.add(node)
        return [node in reached for node in self.trace.graph.outputs()]


@dataclass(frozen=True)
class Candidate:
    """A smaller network that is to be proven.

    Attributes:
        network: the full network.
        smaller: the smaller network; its parameters and buffers have the names of the full one.
        trace: the trace of the full network.
        selection: the positions that the smaller network has.
        graph: the graph of the smaller network.
        inputs: example arguments of both.
        folded: calls of the full graph whose numbers the weights of the smaller network contain.
    """

    network: nn.Module
    smaller: nn.Module
    trace: ChannelTrace
    selection: Selection
    graph: Graph
    inputs: Arguments
    folded: Collection[fx.Node] = ()

    @property
    def reference(self) -> Reference:
        """What the smaller network must compute."""
        return Reference.of(self.trace, self.selection, self.graph, self.folded)


@contextmanager
def repeatable(seed: int = 0) -> Iterator[None]:
    """Compute without gradients, in full precision and with the same random numbers each time."""
    with torch.no_grad(), without_autocast(), float32_precision(), torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


class _MaskedNetwork(fx.Interpreter):
    """Runs the full network's graph with zeros at every position that is removed.

    A number that the code computes from a width, such as the square root in attention, is taken from the smaller network.
    """

    def __init__(self, reference: Reference, network: nn.Module) -> None:
        super().__init__(reference.trace.graph.module)
        self.extra_traceback = False
        self.trace, self.selection = reference.trace, reference.selection
        self.counterparts, self.folded = reference.counterparts, reference.folded
        self.precisions = {torch.float32: torch.float64} if reference.widens_constants else {}
        # A graph of training mode has the modes of its own layers, which code may set otherwise.
        self.sets_training = reference.training and not reference.trace.graph.training
        self.unmasked = _weight_norm_nodes(self.trace, network)
        self.tensors = {name: tensor.detach().clone() for name, tensor in named_tensors(network).items()}

    def __call__(self, *samples: Any) -> list[Tensor]:
        constants = self.trace.graph.program.constants
        user_inputs = iter(tree_leaves(copies(samples)))
        inputs = [
            next(user_inputs) if kind is InputKind.USER_INPUT else (self.tensors[name] if name in self.tensors else constants[name].clone())
            for _, kind, name in self.trace.graph.inputs()
        ]
        return tensors_in(self.run(*inputs))

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if target is torch.ops.aten._assert_tensor_metadata.default:
            # The graph was exported in the given precision, and may run in another one.
            return None
        if self.sets_training and isinstance(target, torch._ops.OpOverload):
            names = [argument.name for argument in target._schema.arguments]
            args = [True if name in TRAINING_FLAGS else value for name, value in zip(names, args, strict=False)]
        if self.precisions:
            args, kwargs = tree_map_only(torch.dtype, lambda dtype: self.precisions.get(dtype, dtype), (args, kwargs))
        return super().call_function(target, tuple(args), kwargs)

    def run_node(self, n: fx.Node) -> Any:
        try:
            return self._run_masked(n)
        except RuntimeError as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise GccError(f"{describe_call(n)}: the full generator cannot be compared with the pruned one: {reason}; {HINT}") from error

    def _run_masked(self, n: fx.Node) -> Any:
        if n in self.unmasked:
            return super().run_node(n)
        if n not in self.counterparts or n in self.folded or not isinstance(n.target, torch._ops.OpOverload):
            return self._masked(super().run_node(n), self.trace.nodes.get(n))
        if not takes_numbers(n):
            return self._masked(super().run_node(n), self.trace.nodes[n])
        uneven = is_uneven(n)
        value: Callable[[fx.Node], Any] = self._selected if uneven else self.env.__getitem__
        other = self.counterparts[n]
        output = self.call_function(n.target, _mixed(n.args, other.args, value), _mixed(dict(n.kwargs), other.kwargs, value))
        return self._among_zeros(output, n) if uneven else self._masked(output, self.trace.nodes[n])

    def _masked(self, value: Any, layouts: RuleOutput | None) -> Any:
        """Set removed positions to zero, in place if the tensor owns its memory, so that views of it change as well."""
        if isinstance(value, list | tuple):
            return [self._masked(item, layout) for item, layout in zip(value, layouts_of(layouts), strict=True)] if layouts else value
        if not isinstance(value, Tensor) or not isinstance(layouts, tuple):
            return value
        for dim, axis in enumerate(layouts):
            is_kept = self.selection.mask(axis)
            if not is_kept.all():
                removed = torch.from_numpy(~is_kept).to(value.device).view([-1 if other == dim else 1 for other in range(value.ndim)])
                expanded = any(step == 0 and size > 1 for step, size in zip(value.stride(), value.shape, strict=True))
                value = value.masked_fill(removed, 0) if expanded else value.masked_fill_(removed, 0)
        return value

    def _selected(self, node: fx.Node) -> Any:
        """Return the kept positions of a tensor."""
        value, layout = self.env[node], self.trace.nodes[node]
        return selected(value, layout, self.selection) if isinstance(value, Tensor) and isinstance(layout, tuple) else value

    def _among_zeros(self, value: Any, node: fx.Node) -> Any:
        """Return the outputs for the kept positions at these positions of the full output, with zeros elsewhere."""
        values = list(value) if isinstance(value, list | tuple) else [value]
        # A `view` that follows needs the strides of the full network; those of statistics with one position, or none, do not matter.
        strides = node.meta["val"].stride() if isinstance(value, Tensor) and isinstance(node.meta.get("val"), Tensor) else None
        full = [self._scattered(item, layout, strides) for item, layout in zip(values, layouts_of(self.trace.nodes[node]), strict=True)]
        return full[0] if isinstance(value, Tensor) else full

    def _scattered(self, value: Tensor, layout: Layout, strides: Sequence[int] | None) -> Tensor:
        for dim, axis in enumerate(layout):
            shape = [len(axis) if other == dim else size for other, size in enumerate(value.shape)]
            value = value.new_zeros(shape).index_copy(dim, torch.tensor(self.selection.positions(axis), device=value.device), value)
        return value if strides is None else value.new_empty_strided(value.shape, strides).copy_(value)


def selected(tensor: Tensor, layout: Layout, selection: Selection) -> Tensor:
    """Return the selected positions of a tensor."""
    for dim, axis in enumerate(layout):
        tensor = tensor.index_select(dim, torch.tensor(selection.positions(axis), device=tensor.device))
    return tensor


def takes_numbers(node: fx.Node) -> bool:
    """Return whether a masked call takes the numbers of the smaller network's call."""
    return is_uneven(node) or RULES.get(operator_name(node)) is elementwise


def is_uneven(node: fx.Node) -> bool:
    """Return whether a call combines channels other than by sums, so that removed ones cannot be zeros."""
    name = operator_name(node)
    return name in STATISTICS and not (name == "group_norm" and arguments(node)["num_groups"] > 1)


def _weight_norm_nodes(trace: ChannelTrace, network: nn.Module) -> set[fx.Node]:
    """Return the nodes that compute weights under spectral or weight norm; these are as in the full network."""
    names = {name for names in reparametrised_layers(network).values() for name in names}
    first = first_names(network)
    nodes = {node for node, _, name in trace.graph.inputs() if name is not None and first.get(name) in names}
    for node in trace.graph.calls:
        if node.all_input_nodes and nodes.issuperset(node.all_input_nodes):
            nodes.add(node)
    return nodes


def layouts_of(output: RuleOutput | None) -> list[Layout]:
    """Return the layouts of a node, one for each tensor that it returns."""
    return [] if output is None else output if isinstance(output, list) else [output]


def _mixed(arg: Any, other: Any, value: Callable[[fx.Node], Any]) -> Any:
    """Return a call's arguments: tensors from `value`, everything else from the other network's call."""
    if isinstance(arg, fx.Node):
        return value(arg)
    if isinstance(arg, dict):
        return {name: _mixed(item, other[name], value) for name, item in arg.items()}
    if isinstance(arg, list | tuple) and any(isinstance(item, fx.Node) for item in arg):
        return [_mixed(item, counterpart, value) for item, counterpart in zip(arg, other, strict=True)]
    return other

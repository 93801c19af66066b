"""Checks that a cut is correct: the smaller network runs the same operators with the expected shapes and returns the same outputs.

Both networks run on random input, the full one with every removed channel set to zero after every operator; the outputs must be equal up to
rounding. A few operators, such as layer norm, combine channels other than by sums; they get only the channels that are kept, as in the
smaller network. Weights under spectral or weight norm are those that the full network computes with, although what is kept of them has a
different norm.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves, tree_map_only

from gcc.errors import GccError
from gcc.models.calls import Arguments, copies, copy_of, tensors_in
from gcc.models.modules import without_autocast
from gcc.pruning.graph.aten_graph import Graph, arguments, describe_call, operator_name
from gcc.pruning.graph.channel_ids import Layout
from gcc.pruning.graph.groups import Selection
from gcc.pruning.graph.propagate import HINT, ChannelTrace, named_tensors
from gcc.pruning.graph.rules import RULES, STATISTICS, RuleOutput, elementwise
from gcc.pruning.graph.weight_norms import reparametrised_layers
from gcc.utils.backend import float32_precision

TOLERANCE = 1e-4
"""Largest difference of an output, as a share of the largest output, that is attributed to the order of sums."""


NO_CONSTANTS = "write sizes as -1 or take them from shapes, not as constants, or name the layer in `leave`"


def require_same_graph(trace: ChannelTrace, selection: Selection, graph: Graph, full: Graph | None = None) -> None:
    """Refuse a smaller network that does not run the same operators with the selected sizes.

    Args:
        trace: the trace of the full network.
        selection: the positions that the smaller network has.
        graph: the graph of the smaller network.
        full: the graph of the full network in the same mode; None for evaluation mode.

    Raises:
        GccError: an operator or a size differs; the message names the layer and its line of code.
    """
    for node, other in zip_longest((full or trace.graph).steps(), graph.steps()):
        if node is None or other is None or node.target != other.target:
            raise GccError(f"{describe_call(node or other)}: with fewer channels the code runs other operators from here; {NO_CONSTANTS}")
        expected = [[selection.size(axis) for axis in layout] for layout in _layouts(trace.nodes[node])]
        shapes = [list(tensor.shape) for tensor in tree_leaves(other.meta.get("val")) if isinstance(tensor, Tensor)]
        if shapes and expected != shapes:
            raise GccError(f"{describe_call(node)}: with fewer channels this returns {shapes}, expected {expected}; {NO_CONSTANTS}")


def require_equal(
    network: nn.Module,
    smaller: nn.Module,
    trace: ChannelTrace,
    selection: Selection,
    graph: Graph,
    *inputs: Any,
    folded: Collection[fx.Node] = (),
) -> None:
    """Compare the smaller network, on random input, with the full network whose removed channels are set to zero.

    Args:
        network: the full network.
        smaller: the smaller network.
        trace: the trace of the full network.
        selection: the positions that the smaller network has.
        graph: the graph of the smaller network.
        folded: calls of the full graph whose numbers the weights of the smaller network contain.
        inputs: example arguments of both; floating-point tensors are replaced by random ones of their shape, others are used as they are.

    Raises:
        GccError: an output differs by more than rounding errors.
    """
    random = torch.Generator().manual_seed(0)
    samples: Arguments = tree_map_only(
        Tensor, lambda tensor: torch.randn(tensor.shape, generator=random).to(tensor) if tensor.is_floating_point() else tensor, inputs
    )
    with torch.no_grad(), without_autocast(), float32_precision(), torch.random.fork_rng():
        torch.manual_seed(0)
        outputs = tensors_in(copy_of(smaller).eval()(*copies(samples)))
        torch.manual_seed(0)
        references = _MaskedNetwork(trace, selection, graph, network, folded)(*samples)
    for reference, output in zip(references, outputs, strict=True):
        scale = float(reference.abs().max())
        difference = float((reference - output).abs().max()) if reference.shape == output.shape else float("inf")
        if not difference <= TOLERANCE * scale:
            raise GccError(
                f"the pruned generator differs by {difference:.2g} from the full one without these channels, whose outputs reach "
                f"{scale:.2g}: expected a generator that returns the same for the same input, and whose graph shows its channels"
            )


class _MaskedNetwork(fx.Interpreter):
    """Runs the full network's graph with zeros at every position that is removed.

    A number that the code computes from a width, such as the square root in attention, is taken from the smaller network.
    """

    def __init__(self, trace: ChannelTrace, selection: Selection, graph: Graph, network: nn.Module, folded: Collection[fx.Node]) -> None:
        super().__init__(trace.graph.module)
        self.trace, self.selection, self.network = trace, selection, network
        self.counterparts = dict(zip(trace.graph.steps(), graph.steps(), strict=True))
        self.folded = folded
        self.unmasked = _weight_norm_nodes(trace, network)

    def __call__(self, *samples: Any) -> Sequence[Tensor]:
        tensors = named_tensors(self.network)
        constants = self.trace.graph.program.constants
        user_inputs = iter(tree_leaves(samples))
        inputs = [
            next(user_inputs) if kind is InputKind.USER_INPUT else (tensors[name] if name in tensors else constants[name])
            for _, kind, name in self.trace.graph.inputs()
        ]
        return tensors_in(self.run(*copies(tuple(inputs))))

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
        name = operator_name(n)
        uneven = name in STATISTICS and not (name == "group_norm" and arguments(n)["num_groups"] > 1)
        if not uneven and RULES.get(name) is not elementwise:
            return self._masked(super().run_node(n), self.trace.nodes[n])
        value: Callable[[fx.Node], Any] = (lambda node: self._selected(self.env[node], node)) if uneven else self.env.__getitem__
        other = self.counterparts[n]
        output = n.target(*_mixed(n.args, other.args, value), **_mixed(dict(n.kwargs), dict(other.kwargs), value))
        return self._among_zeros(output, n) if uneven else self._masked(output, self.trace.nodes[n])

    def _masked(self, value: Any, layouts: RuleOutput | None) -> Any:
        """Set removed positions to zero, in place if the tensor owns its memory, so that views of it change as well."""
        if isinstance(value, list | tuple):
            return [self._masked(item, layout) for item, layout in zip(value, _layouts(layouts), strict=True)] if layouts else value
        if not isinstance(value, Tensor) or not isinstance(layouts, tuple):
            return value
        for dim, axis in enumerate(layouts):
            is_kept = self.selection.mask(axis)
            if not is_kept.all():
                removed = torch.from_numpy(~is_kept).to(value.device).view([-1 if other == dim else 1 for other in range(value.ndim)])
                expanded = any(step == 0 and size > 1 for step, size in zip(value.stride(), value.shape, strict=True))
                value = value.masked_fill(removed, 0) if expanded else value.masked_fill_(removed, 0)
        return value

    def _selected(self, value: Any, node: fx.Node) -> Any:
        """Return the kept positions of a tensor."""
        layout = self.trace.nodes[node]
        if isinstance(value, Tensor) and isinstance(layout, tuple):
            for dim, axis in enumerate(layout):
                value = value.index_select(dim, torch.tensor(self.selection.positions(axis), device=value.device))
        return value

    def _among_zeros(self, value: Any, node: fx.Node) -> Any:
        """Return the outputs for the kept positions at these positions of the full output, with zeros elsewhere."""
        values = list(value) if isinstance(value, list | tuple) else [value]
        # A `view` that follows needs the strides of the full network; those of statistics with one position, or none, do not matter.
        strides = node.meta["val"].stride() if isinstance(value, Tensor) and isinstance(node.meta.get("val"), Tensor) else None
        full = [self._scattered(item, layout, strides) for item, layout in zip(values, _layouts(self.trace.nodes[node]), strict=True)]
        return full[0] if isinstance(value, Tensor) else full

    def _scattered(self, value: Tensor, layout: Layout, strides: Sequence[int] | None) -> Tensor:
        for dim, axis in enumerate(layout):
            shape = [len(axis) if other == dim else size for other, size in enumerate(value.shape)]
            value = value.new_zeros(shape).index_copy(dim, torch.tensor(self.selection.positions(axis), device=value.device), value)
        return value if strides is None else value.new_empty_strided(value.shape, strides).copy_(value)


def _weight_norm_nodes(trace: ChannelTrace, network: nn.Module) -> set[fx.Node]:
    """Return the nodes that compute weights under spectral or weight norm; these are as in the full network."""
    names = {name for names in reparametrised_layers(network).values() for name in names}
    nodes = {node for node, _, name in trace.graph.inputs() if name in names}
    for node in trace.graph.calls:
        if node.all_input_nodes and nodes.issuperset(node.all_input_nodes):
            nodes.add(node)
    return nodes


def _layouts(output: RuleOutput | None) -> list[Layout]:
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

"""The proof that a cut is sound: the smaller network does what it must, operator by operator in shape, and in numbers as a whole.

The numbers are those of the full network with every cut channel held at zero after every operator. A few operators mix channels in another
way than by sums, such as layer norm: these are given the channels that are left, as the smaller network gives them. Weights under spectral
or weight norm are those that the full network computes with, though what is left of them has another norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind
from torch.utils._pytree import tree_leaves

from gcc.errors import GccError
from gcc.models.modules import evaluating, outcome_of
from gcc.pruning.graph.channel_ids import Layout
from gcc.pruning.graph.export import Graph, arguments, operator_name, place
from gcc.pruning.graph.groups import Kept
from gcc.pruning.graph.propagate import Trace, held_by
from gcc.pruning.graph.rules import RULES, STATISTICS, RuleOutput, elementwise
from gcc.pruning.graph.weight_norms import normed

TOLERANCE = 1e-4
"""Largest difference of an output, as a share of the largest output, that the order of sums is thought to cause."""


NO_CONSTANTS = "write sizes as -1 or take them from shapes, not as constants, or name the layer in `leave`"


def require_alike(trace: Trace, kept: Kept, graph: Graph) -> None:
    """Refuse a smaller network that does not go the same way, in the sizes that are kept.

    Args:
        trace: of the full network.
        kept: the positions that the smaller one has.
        graph: of the smaller one.

    Raises:
        GccError: another operator, or another size; the message names the layer and its line of code.
    """
    for node, other in zip_longest(trace.graph.steps(), graph.steps()):
        if node is None or other is None or node.target != other.target:
            here = place(node or other)
            raise GccError(f"{here}: with fewer channels the code goes another way here; {NO_CONSTANTS}")
        wanted = [[kept.size(axis) for axis in layout] for layout in _layouts(trace.nodes[node])]
        found = [list(tensor.shape) for tensor in tree_leaves(other.meta.get("val")) if isinstance(tensor, Tensor)]
        if found and wanted != found:
            raise GccError(f"{place(node)}: with fewer channels this gives {found} where {wanted} was expected; {NO_CONSTANTS}")


def require_equal(network: nn.Module, smaller: nn.Module, trace: Trace, kept: Kept, graph: Graph, *inputs: Tensor) -> None:
    """Compare the smaller network with the full one whose cut channels are held at zero, on random input.

    Args:
        network: the full one.
        smaller: the other.
        trace: of the full one.
        kept: the positions that the smaller one has.
        graph: of the smaller one.
        inputs: of what the networks take; random ones like them are compared, but for whole numbers, which are taken as they are.

    Raises:
        GccError: an output differs by more than rounding.
    """
    random = torch.Generator().manual_seed(0)
    given = [torch.randn(one.shape, generator=random).to(one) if one.is_floating_point() else one for one in inputs]
    with torch.no_grad(), evaluating(smaller), _exactly(), torch.random.fork_rng():
        torch.manual_seed(0)
        found = [one for one in tree_leaves(outcome_of(smaller, *given)) if isinstance(one, Tensor)]
        torch.manual_seed(0)
        wanted = _Masked(trace, kept, graph, network)(*given)
    for one, other in zip(wanted, found, strict=True):
        scale = float(one.abs().max())
        difference = float((one - other).abs().max()) if one.shape == other.shape else float("inf")
        if not difference <= TOLERANCE * scale:
            raise GccError(
                f"the pruned generator differs by {difference:.2g} from the full one without these channels, whose outputs reach "
                f"{scale:.2g}: expected a generator that gives the same for the same input, and whose channels its graph tells"
            )


@contextmanager
def _exactly() -> Iterator[None]:
    """Let float32 on a GPU be float32."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


class _Masked(fx.Interpreter):
    """Runs the full network's graph with zeros for every position that is cut.

    Where code computes a number from a width, such as the root that attention divides by, it is that of the smaller network.
    """

    def __init__(self, trace: Trace, kept: Kept, graph: Graph, network: nn.Module) -> None:
        super().__init__(trace.graph.module)
        self.trace, self.kept, self.network = trace, kept, network
        self.others = dict(zip(trace.graph.steps(), graph.steps(), strict=True))
        self.whole = _norms_alone(trace, network)

    def __call__(self, *given: Tensor) -> Sequence[Tensor]:
        tensors = held_by(self.network)
        constants = self.trace.graph.program.constants
        users = iter(given)
        inputs = [
            next(users) if kind is InputKind.USER_INPUT else (tensors[name] if name in tensors else constants[name])
            for _, kind, name in self.trace.graph.inputs()
        ]
        made = self.run(*(tensor.detach().clone() for tensor in inputs))
        return [one for one in tree_leaves(made) if isinstance(one, Tensor)]

    def run_node(self, n: fx.Node) -> Any:
        if n in self.whole:
            return super().run_node(n)
        if n not in self.others or not isinstance(n.target, torch._ops.OpOverload):
            return self._masked(super().run_node(n), self.trace.nodes.get(n))
        name = operator_name(n)
        uneven = name in STATISTICS and not (name == "group_norm" and arguments(n)["num_groups"] > 1)
        if not uneven and RULES.get(name) is not elementwise:
            return self._masked(super().run_node(n), self.trace.nodes[n])
        value: Callable[[fx.Node], Any] = (lambda one: self._left(self.env[one], one)) if uneven else self.env.__getitem__
        other = self.others[n]
        made = n.target(*_merged(n.args, other.args, value), **_merged(dict(n.kwargs), dict(other.kwargs), value))
        return self._spread(made, n) if uneven else self._masked(made, self.trace.nodes[n])

    def _masked(self, value: Any, made: RuleOutput | None) -> Any:
        """Put zeros into what is cut, in place where the tensor owns its memory, so that views of it see them, too."""
        if isinstance(value, list | tuple):
            return [self._masked(one, layout) for one, layout in zip(value, _layouts(made), strict=True)] if made else value
        if not isinstance(value, Tensor) or not isinstance(made, tuple):
            return value
        for dim, axis in enumerate(made):
            stays = self.kept.mask(axis)
            if not stays.all():
                gone = torch.from_numpy(~stays).to(value.device).view([-1 if other == dim else 1 for other in range(value.ndim)])
                shared = any(step == 0 and size > 1 for step, size in zip(value.stride(), value.shape, strict=True))
                value = value.masked_fill(gone, 0) if shared else value.masked_fill_(gone, 0)
        return value

    def _left(self, value: Any, node: fx.Node) -> Any:
        """Return what is left of a tensor."""
        layout = self.trace.nodes[node]
        if isinstance(value, Tensor) and isinstance(layout, tuple):
            for dim, axis in enumerate(layout):
                value = value.index_select(dim, torch.tensor(self.kept.positions(axis), device=value.device))
        return value

    def _spread(self, value: Any, node: fx.Node) -> Any:
        """Return what was made of what is left in its places, among zeros."""
        values = list(value) if isinstance(value, list | tuple) else [value]
        spread = [self._among_zeros(one, layout) for one, layout in zip(values, _layouts(self.trace.nodes[node]), strict=True)]
        return spread[0] if isinstance(value, Tensor) else spread

    def _among_zeros(self, value: Tensor, layout: Layout) -> Tensor:
        for dim, axis in enumerate(layout):
            shape = [len(axis) if other == dim else size for other, size in enumerate(value.shape)]
            value = value.new_zeros(shape).index_copy(dim, torch.tensor(self.kept.positions(axis), device=value.device), value)
        return value


def _norms_alone(trace: Trace, network: nn.Module) -> set[fx.Node]:
    """Return the nodes that compute weights under spectral or weight norm, which stay as they are in the full network."""
    names = {name for names in normed(network).values() for name in names}
    alone = {node for node, _, name in trace.graph.inputs() if name in names}
    for node in trace.graph.calls:
        if node.all_input_nodes and alone.issuperset(node.all_input_nodes):
            alone.add(node)
    return alone


def _layouts(made: RuleOutput | None) -> list[Layout]:
    return [] if made is None else made if isinstance(made, list) else [made]


def _merged(arg: Any, other: Any, value: Callable[[fx.Node], Any]) -> Any:
    """Return a call's arguments: tensors as `value` gives them, all else as another network's call has it."""
    if isinstance(arg, fx.Node):
        return value(arg)
    if isinstance(arg, dict):
        return {name: _merged(one, other[name], value) for name, one in arg.items()}
    if isinstance(arg, list | tuple) and any(isinstance(one, fx.Node) for one in arg):
        return [_merged(one, another, value) for one, another in zip(arg, other, strict=True)]
    return other

"""A smaller network as a graph: the operators of the full one with other sizes, for code that contains widths as constants."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.fx._lazy_graph_module import _LazyGraphModule
from torch.fx.traceback import preserve_node_meta
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from gcc.errors import GccError
from gcc.pruning.graph.aten_graph import SIZE_CHECKS, Graph, arguments, operator_name
from gcc.pruning.graph.channel_ids import Axis, Layout
from gcc.pruning.graph.groups import Selection
from gcc.pruning.graph.layer_hooks import insert_hooks
from gcc.pruning.graph.propagate import ChannelTrace
from gcc.pruning.graph.slice import cut

Variant = tuple[fx.GraphModule, list[fx.Node]]
"""A graph that holds the tensors of its network, and its nodes that correspond to the steps of the traced graph."""


@dataclass(frozen=True)
class Program:
    """A graph as a function.

    Attributes:
        run: the function; it takes the module that holds the tensors, and the flat inputs, and returns the flat outputs.
        inputs: the structure of the positional and keyword arguments.
        outputs: the structure of the outputs.
        code: its source.
        graph: the graph, with the layers that its operators belong to.
    """

    run: Callable[..., Sequence[Any]]
    inputs: TreeSpec
    outputs: TreeSpec
    code: str
    graph: fx.Graph

    def __deepcopy__(self, memo: dict[int, Any]) -> Program:
        """Return the same program: it does not change, and holds no tensors."""
        return self


class OtherSizesError(GccError):
    """A graph cannot run on inputs of these sizes."""


class _SizeCheck(nn.Module):
    """Raises `OtherSizesError` for inputs on which a graph cannot run.

    Args:
        guards: the module that torch.export puts into a graph; it raises an `AssertionError`.
    """

    def __init__(self, guards: nn.Module) -> None:
        super().__init__()
        self._guards = guards

    def forward(self, *inputs: Any) -> None:
        """Check the inputs; an exported program has the check of its own export."""
        if torch.compiler.is_exporting():
            return
        try:
            self._guards(*inputs)
        except AssertionError as error:
            raise OtherSizesError(f"the pruned graph does not run on these inputs: {error}; expected inputs like the example") from error


class PrunedGraph(nn.Module):
    """A pruned network that runs graphs of ATen operators in place of its code.

    Its layers, parameters and buffers have the names that they have in the full network. It is trained, exported, and saved as a
    `state_dict` like any other module, and forward hooks of its layers run; see `insert_hooks`. On batch and image sizes for which the
    code would run other operators it raises `OtherSizesError`.

    Args:
        network: the full network without the removed channels; its code does not run. The tensors are not copied.
        evaluation: the graph of evaluation mode; see `rewritten`.
        training: the graph of training mode; None if it is the same.
    """

    def __init__(self, network: nn.Module, evaluation: fx.GraphModule, training: fx.GraphModule | None = None) -> None:
        super().__init__()
        self._parameters, self._buffers, self._modules = network._parameters, network._buffers, network._modules
        self._non_persistent_buffers_set = network._non_persistent_buffers_set
        self._hooked_layers = {path: layer for path, layer in network.named_modules(remove_duplicate=False) if path}
        for layer in self._hooked_layers.values():
            # The graph has the operators of the hooks with which it was exported.
            layer._forward_hooks.clear()
        self._evaluation = self._program(evaluation, "evaluation")
        self._training = self._evaluation if training is None else self._program(training, "training")
        self.train(network.training)

    def forward(self, *inputs: Any, **keywords: Any) -> Any:
        """Run the graph of the current mode.

        Raises:
            OtherSizesError: the graph does not run on inputs of these sizes.
            GccError: the arguments are not given as in the example.
        """
        program = self._training if self.training else self._evaluation
        values, structure = tree_flatten((inputs, keywords))
        if structure != program.inputs:
            raise GccError(f"the pruned graph takes arguments like those of the example, {program.inputs}; got {structure}")
        return tree_unflatten(self._run(program, values), program.outputs)

    def _run(self, program: Program, values: Sequence[Any]) -> Sequence[Any]:
        """Run a graph; an export then shows which layer each operator belongs to, except a strict one, which cannot follow this."""
        if not torch.compiler.is_exporting() or torch.compiler.is_dynamo_compiling():
            return program.run(self, *values)
        with preserve_node_meta():
            outputs: Sequence[Any] = fx.Interpreter(self, graph=program.graph).run(*values)
            return outputs

    @property
    def code(self) -> str:
        """The source of the current mode's graph."""
        return (self._training if self.training else self._evaluation).code

    def _program(self, module: fx.GraphModule, mode: str) -> Program:
        """Return a graph as a function, after taking over what it reads beside the network's tensors, under names with its mode."""
        for node in module.graph.nodes:
            if node.op == "call_module" or (node.op == "get_attr" and not _has(self, node.target)):
                value = _attribute(module, node.target)
                node.target = f"_{node.target.replace('.', '_')}"
                if isinstance(value, nn.Module):
                    node.target += f"_{mode}"
                    self.add_module(node.target, _SizeCheck(value))
                    continue
                if _has(self, node.target) and not torch.equal(_attribute(self, node.target), value):
                    node.target += f"_{mode}"
                self.register_buffer(node.target, value, persistent=False)
        insert_hooks(module.graph, "_hooked_layers", self._hooked_layers)
        inputs, outputs = module._in_spec, module._out_spec
        assert inputs is not None and outputs is not None
        module.graph.set_codegen(fx.graph.CodeGen())
        module.recompile()
        code = module.code
        for node in module.graph.nodes:
            node.meta = {name: value for name, value in node.meta.items() if name in ("nn_module_stack", "stack_trace")}
        return Program(type(module).forward, inputs, outputs, code, module.graph)


def _has(module: nn.Module, path: str) -> bool:
    try:
        _attribute(module, path)
    except AttributeError:
        return False
    return True


def _attribute(module: nn.Module, path: str) -> Any:
    return operator.attrgetter(path)(module)


class GraphForm:
    """Makes smaller networks from the graphs of a full one.

    Args:
        trace: the trace of the full network's graph, and of that of training mode if it is another one.
        variants: one of the graph's variants for each graph of the trace.
    """

    def __init__(self, trace: ChannelTrace, variants: Sequence[Variant]) -> None:
        self._trace, self._variants = trace, variants

    def cut(self, network: nn.Module, selection: Selection) -> PrunedGraph:
        """Return the graphs of a network without the removed channels.

        Args:
            network: the full network or a copy of it, on any device; it is not changed.
            selection: the positions to keep.
        """
        modules = [
            _with_sizes(graph, variant, self._trace, selection) for graph, variant in zip(self._trace.graphs, self._variants, strict=True)
        ]
        return PrunedGraph(cut(self._trace, network, selection), *modules)


def graph_forms(trace: ChannelTrace) -> Iterator[GraphForm]:
    """Yield the forms of a network's graphs, the most general one first."""
    for variants in zip(*(graph.variants() for graph in trace.graphs), strict=False):
        yield GraphForm(trace, variants)


def _with_sizes(graph: Graph, variant: Variant, trace: ChannelTrace, selection: Selection) -> fx.GraphModule:
    """Return a copy of a graph in which the constants that are sizes of removed channels are those of what is kept."""
    module, steps = variant
    copies: dict[fx.Node, fx.Node] = {}
    output = (copied := fx.Graph()).graph_copy(module.graph, copies)
    copied.output(output)
    smaller = _LazyGraphModule(module, copied)
    smaller._in_spec, smaller._out_spec = module._in_spec, module._out_spec
    for node, step in zip(graph.steps(), steps, strict=True):
        rule = SIZES.get(operator_name(node))
        if rule is not None:
            _update(copies[step], rule(Sizes(node, copies[step], trace, selection)))
    for node in list(copied.nodes):
        if node.op == "call_function" and operator_name(node) in SIZE_CHECKS:
            copied.erase_node(node)
    # A call that the output does not depend on is not traced, so its sizes may not fit.
    copied.eliminate_dead_code()
    return smaller


def _update(node: fx.Node, changes: Mapping[str, Any]) -> None:
    """Set arguments of a call by their names in the operator's schema."""
    schema = [argument.name for argument in node.target._schema.arguments]  # type: ignore[union-attr]
    for name, value in changes.items():
        index = schema.index(name)
        if index < len(node.args):
            node.update_arg(index, value)
        else:
            node.update_kwarg(name, value)


class Sizes:
    """The sizes in a call of the full network's graph, and in the same call without the removed channels.

    Args:
        node: the call in the traced graph.
        step: the same call in the graph whose constants change, in which sizes may be variables.
        trace: the trace of the full network.
        selection: the positions that are kept.

    Attributes:
        full: the arguments in the traced graph.
        arguments: the arguments in the graph whose constants change.
        outputs: the layouts of the outputs.
    """

    def __init__(self, node: fx.Node, step: fx.Node, trace: ChannelTrace, selection: Selection) -> None:
        self._step, self._trace, self._selection = step, trace, selection
        self.full, self.arguments = arguments(node), arguments(step)
        layout = trace.nodes[node]
        self.outputs = layout if isinstance(layout, list) else [layout]

    def input(self, name: str) -> Layout:
        """Return the layout of a tensor argument."""
        return self._trace.layout(self.full[name])

    def scaled(self, value: Any, axis: Axis) -> Any:
        """Return a size that is that of a dimension, or a multiple of it, without the removed positions; -1 stays."""
        size, kept = len(axis), self._selection.size(axis)
        if size == kept or value is None or (isinstance(value, int) and value < 0):
            return value
        if isinstance(value, int):
            return value * kept // size
        with self._step.graph.inserting_before(self._step):
            units = self._step.graph.call_function(operator.floordiv, (value, size))
            return self._step.graph.call_function(operator.mul, (units, kept))

    def blocks(self, value: Any, count: int, axis: Axis) -> Any:
        """Return the number of consecutive blocks of a dimension that keep a position; `value` if all of `count` blocks do."""
        kept = int(self._selection.mask(axis).reshape(count, -1).any(1).sum())
        return value if kept == count else kept

    def before(self, value: Any, axis: Axis) -> Any:
        """Return a position in a dimension without the removed positions before it."""
        if value is None or not isinstance(value, int) or self._selection.size(axis) == len(axis) or abs(value) >= len(axis):
            return value
        return self._selection.size(axis[: value % len(axis)])


def _shape(name: str) -> Callable[[Sizes], dict[str, Any]]:
    """Return the rule of an operator to which the shape of its output is given."""
    return lambda call: {name: [call.scaled(size, axis) for size, axis in zip(call.arguments[name], call.outputs[0], strict=True)]}


def _unflatten(call: Sizes) -> dict[str, Any]:
    sizes = call.arguments["sizes"]
    dim = call.arguments["dim"] % len(call.input("self"))
    return {"sizes": [call.scaled(size, axis) for size, axis in zip(sizes, call.outputs[0][dim : dim + len(sizes)], strict=True)]}


def _repeats(call: Sizes) -> dict[str, Any]:
    (name,) = {"repeats", "dims"} & set(call.arguments)
    repeats, tensor = call.arguments[name], call.input("self")
    sizes = (1,) * (len(repeats) - len(tensor)) + tuple(map(len, tensor))
    triples = zip(repeats, sizes, call.outputs[0], strict=True)
    return {name: [call.scaled(count, axis) if size == 1 else count for count, size, axis in triples]}


def _interleaved(call: Sizes) -> dict[str, Any]:
    dim = (call.arguments["dim"] or 0) % len(call.outputs[0])
    return {"output_size": call.scaled(call.arguments["output_size"], call.outputs[0][dim])}


def _parts(name: str) -> Callable[[Sizes], dict[str, Any]]:
    """Return the rule of an operator to which the sizes of several outputs are given, or one size for all."""

    def rule(call: Sizes) -> dict[str, Any]:
        dim = call.arguments["dim"] % len(call.input("self"))
        axes = [layout[dim] for layout in call.outputs]
        sizes = call.arguments[name]
        return {name: [*map(call.scaled, sizes, axes)] if isinstance(sizes, list | tuple) else call.scaled(sizes, axes[0])}

    return rule


def _range(call: Sizes) -> dict[str, Any]:
    axis = call.input("self")[call.arguments["dim"] % len(call.input("self"))]
    return {name: call.before(call.arguments[name], axis) for name in ("start", "end")} if call.arguments["step"] == 1 else {}


def _narrowed(call: Sizes) -> dict[str, Any]:
    dim = call.arguments["dim"] % len(call.input("self"))
    start = call.before(call.arguments["start"], call.input("self")[dim])
    return {"start": start, "length": call.scaled(call.arguments["length"], call.outputs[0][dim])}


def _normalized_shape(call: Sizes) -> dict[str, Any]:
    shape = call.arguments["normalized_shape"]
    return {"normalized_shape": [*map(call.scaled, shape, call.input("input")[-len(shape) :])]}


def _groups(call: Sizes) -> dict[str, Any]:
    """Return the number of groups of channels of a norm or a convolution, which loses whole groups or the same channels of each."""
    name, of = ("groups", "weight") if "groups" in call.full else ("num_groups", "input")
    channels = call.input(of)[0 if of == "weight" else 1]
    return {name: call.blocks(call.arguments[name], call.full[name], channels)} if call.full[name] > 1 else {}


GROUPED = {name: _groups for name in ("group_norm", *(f"conv{transpose}{rank}d" for transpose in ("", "_transpose") for rank in (1, 2, 3)))}
"""The operators with groups of channels; their code runs with a wrong number of groups, too."""

SIZES: dict[str, Callable[[Sizes], dict[str, Any]]] = {
    **dict.fromkeys(("view", "zeros", "ones", "full", "empty", "rand", "randn"), _shape("size")),
    **dict.fromkeys(("new_zeros", "new_ones", "new_full", "new_empty", "expand", "broadcast_to", "_unsafe_view"), _shape("size")),
    "reshape": _shape("shape"),
    "unflatten": _unflatten,
    "repeat": _repeats,
    "tile": _repeats,
    "repeat_interleave": _interleaved,
    "split": _parts("split_size"),
    "split_with_sizes": _parts("split_sizes"),
    "slice": _range,
    "narrow": _narrowed,
    "layer_norm": _normalized_shape,
    "rms_norm": _normalized_shape,
    **GROUPED,
}
"""By the operator: the arguments that are sizes, without the removed channels."""

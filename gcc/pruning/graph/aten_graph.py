"""The graph of ATen operators that torch.export returns for a module, and the line of code that each operator comes from."""

from __future__ import annotations

import inspect
import linecache
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export import Dim, ExportedProgram
from torch.export.graph_signature import InputKind
from torch.fx._lazy_graph_module import _use_lazy_graph_module
from torch.fx.experimental import _config
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map, tree_map_only

from gcc.errors import GccError
from gcc.models.assertions import PassedAssertions
from gcc.models.calls import by_argument, copies, copy_of, describe_shapes, is_from_torch, located_errors
from gcc.models.data_access import DataAccess
from gcc.pruning.graph.rules import RULES
from gcc.utils.garbage import without_collection

SIZE_CHECKS = ("_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size")
"""Operators that check sizes which are variables."""


SEVERAL_SAMPLES = r"L\['(?P<name>\w+)'\](\[(?P<index>\d+)\])?\.size\(\)\[0\] (>|!=) 1"
"""A check that an input has several samples, in the code that torch.export writes."""
BLOCKS = ("wrap_with_set_grad_enabled", "wrap_with_autocast")
"""Operators that run a nested graph as it is."""


class Graph:
    """The operators that a network runs on an example, in order.

    Args:
        network: the network; it is not changed, since copies of it run.
        inputs: its arguments.
        training: whether the network is in training mode; else it is in evaluation mode.

    Raises:
        GccError: the network does not run on the example, or torch cannot export it.
    """

    def __init__(self, network: nn.Module, *inputs: Any, training: bool = False) -> None:
        with torch.no_grad(), warnings.catch_warnings():
            trial = copy_of(network).train(training)
            with located_errors(trial, f"expected a generator that runs on {describe_shapes(inputs)}"):
                trial(*copies(inputs))
        self.training = training
        self.network = copy_of(network).train(training)
        self.program = _exported(self.network, copies(inputs), None)
        self.module = self.program.graph_module
        _inline(self.module)
        self.calls = _live(self.module.graph)

    def inputs(self) -> Iterator[tuple[fx.Node, InputKind, str | None]]:
        """Yield every input of the graph with its kind and, if it is a tensor of the network, its name."""
        nodes = {node.name: node for node in self.module.graph.nodes if node.op == "placeholder"}
        for spec in self.program.graph_signature.input_specs:
            yield nodes[spec.arg.name], spec.kind, spec.target

    def steps(self) -> list[fx.Node]:
        """Return the calls that a graph of other widths has as well: torch omits some calls if they have no effect."""
        return _steps(self.calls)

    def outputs(self) -> list[fx.Node]:
        """Return the nodes of the network's outputs."""
        (output,) = [node for node in self.module.graph.nodes if node.op == "output"]
        return list(output.all_input_nodes)

    def _named_inputs(self, example: tuple[Any, ...]) -> dict[str, Any]:
        return inspect.signature(self.network.forward).bind(*example).arguments

    def variants(self) -> Iterator[tuple[fx.GraphModule, list[fx.Node]]]:
        """Yield the same operators as modules that hold the network's tensors, each with its nodes for `steps()`, the most general first.

        The first one runs on any batch size and any image size for which the network runs these operators, the second one on any image
        size, the last one on the example's sizes. What torch cannot export, or what consists of other operators, is left out.
        """
        example, _ = self.program.example_inputs
        several = tree_map_only(Tensor, doubled, example)
        for inputs, sizes in ((several, _variable_sizes(several)), (example, _variable_sizes(example)), (example, None)):
            try:
                module = _as_module(_exported(copy_of(self.network), copies(inputs), sizes), self._named_inputs(example))
            except GccError:
                continue
            _inline(module)
            steps = [node for node in _steps(_live(module.graph)) if not _is_size(node)]
            if [node.target for node in steps] == [node.target for node in self.steps()]:
                yield module, steps


def _variable_sizes(inputs: Any) -> Any:
    """Return the dimensions of nested inputs whose sizes are variables: a size of 1 is broadcast, and stays."""
    return tree_map(
        lambda leaf: {dim: Dim.AUTO for dim, size in enumerate(leaf.shape) if size > 1} if isinstance(leaf, Tensor) else None, inputs
    )


def _exported(network: nn.Module, inputs: tuple[Any, ...], sizes: Any) -> ExportedProgram:
    """Export a network, with the sizes of `sizes` as variables; None if all are constants."""
    with torch.enable_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The tensor attribute")
        # Dynamo, which exports code that is not Python, warns of its own use of torch.
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.")
        with (
            located_errors(network, "expected code that torch.export can follow, independent of the values of the input"),
            network.register_forward_pre_hook(_take_any_keyword),
            DataAccess(_copy),
            PassedAssertions(),
            _silenced(),
            _economical(),
        ):
            return torch.export.export(network, inputs, dynamic_shapes=None if sizes is None else by_argument(network, sizes))


def _as_module(program: ExportedProgram, example: Mapping[str, Any]) -> fx.GraphModule:
    """Return an exported program as a module, without the check that an input has several samples if that of the example has one.

    Torch also adds that check where it makes no difference. Whether it does is for comparisons on the example to decide.

    Args:
        program: the program.
        example: the example's inputs by the names of the network's arguments.
    """
    program._guards_code = [guard for guard in program._guards_code if not _requires_several(guard, example)]
    return program.module()


def _requires_several(guard: str, example: Mapping[str, Any]) -> bool:
    """Return whether a check refuses the example because an input has a single sample."""
    match = re.fullmatch(SEVERAL_SAMPLES, guard)
    if match is None:
        return False
    value = example[match["name"]]
    value = value[int(match["index"])] if match["index"] else value
    return isinstance(value, Tensor) and len(value) == 1


def _take_any_keyword(network: nn.Module, inputs: tuple[Any, ...]) -> None:
    """Let code call layers by keywords such as `mod=`, which is also the name of a parameter of the call that torch puts in their way."""
    call: Any = nn.Module.__call__
    call.__code__ = call.__code__.replace(co_posonlyargcount=1)


def _steps(calls: Iterable[fx.Node]) -> list[fx.Node]:
    return [node for node in calls if operator_name(node) not in ("contiguous", "alias") and not _is_whole_range(node)]


def _is_whole_range(node: fx.Node) -> bool:
    """Return whether a call returns a whole dimension of its input, for the example if sizes are variables."""
    return operator_name(node) == "slice" and _example_shape(node) == _example_shape(node.all_input_nodes[0])


def _example_shape(node: fx.Node) -> list[str]:
    """Return the shape of a node's tensor in the example; a size that depends on values is an expression."""
    sizes = node.meta["val"].shape
    return [str(size.node.hint or size) if isinstance(size, torch.SymInt) else str(size) for size in sizes]


def doubled(tensor: Tensor) -> Tensor:
    """Return a batch of twice the samples; a scalar stays."""
    return torch.cat([tensor, tensor]) if tensor.ndim else tensor


def _is_size(node: fx.Node) -> bool:
    """Return whether a call computes with sizes, or checks them."""
    name = operator_name(node)
    return name in SIZE_CHECKS or isinstance(node.meta.get("val"), torch.SymInt | torch.SymFloat | torch.SymBool)


@contextmanager
def _silenced() -> Iterator[None]:
    """Silence what torch.export prints and logs about code that it cannot follow: the text of its graph. Its errors say what is wrong."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(disabled)


@contextmanager
def _economical() -> Iterator[None]:
    """Spare torch.export work: code of graphs that change again, proofs of whether each variable size can be 0 or 1, and collections."""
    settings: Any = _config
    with _use_lazy_graph_module(True), settings.patch(backed_size_oblivious=True), without_collection():
        yield


@torch.no_grad()
def _copy(tensor: Tensor, value: Tensor) -> None:
    tensor.copy_(value)


class _CallCounter(TorchFunctionMode):
    """Counts the functions that code calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Iterable[type[Any]], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.calls += 1
        return func(*args, **(kwargs or {}))


def calls_before_error(network: nn.Module, *inputs: Any) -> int:
    """Return how many functions a network calls on its inputs before it raises an error, or until it ends."""
    counter = _CallCounter()
    with torch.no_grad(), suppress(Exception), counter:
        copy_of(network).eval()(*copies(inputs))
    return counter.calls


def operator_name(node: fx.Node) -> str:
    """Return the name of the ATen operator without the underscore of an in-place one; with the overload if `RULES` has a rule for that."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return getattr(node.target, "__name__", str(node.target))
    schema = node.target._schema
    name, overload = schema.name.removeprefix("aten::").removesuffix("_"), schema.overload_name
    return f"{name}.{overload}" if f"{name}.{overload}" in RULES else name


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return a call's arguments by their names in the operator's schema, including defaults."""
    operator: Any = node.target
    schema = operator._schema.arguments
    values = dict(zip((argument.name for argument in schema), node.args, strict=False)) | dict(node.kwargs)
    return {argument.name: values.get(argument.name, argument.default_value) for argument in schema}


def owner(node: fx.Node) -> tuple[str, str]:
    """Return the path and the type of the innermost module that a call belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())
    path, kind = stack[-1]
    return re.sub(r"@\d+", "", path), str(kind).rpartition(".")[2]


def describe_call(node: fx.Node) -> str:
    """Describe a call for a message: its layer, its operator and the line of the module's code."""
    path, kind = owner(node)
    place = f"layer {path!r}" if path else "the network"
    return f"{place} ({kind}), {operator_name(node)}{line_of_code(node)}"


def line_of_code(node: fx.Node) -> str:
    """Return the line of the module's code that makes a call, after its file and number; empty if it is unknown."""
    lines = re.findall(r'File "(.+)", line (\d+), in .+', node.meta.get("stack_trace") or "")
    users = [(file, number) for file, number in lines if not is_from_torch(file)]
    if not users:
        return ""
    file, number = users[-1]
    return f" in {Path(file).name}:{number} `{linecache.getline(file, int(number)).strip()}`"


def _inline(module: fx.GraphModule) -> None:
    """Replace calls of nested graphs by the nested nodes. The inputs of a network's own `no_grad` block are detached."""
    for node in list(module.graph.nodes):
        inner = next((arg for arg in node.args if isinstance(arg, fx.Node) and arg.op == "get_attr"), None)
        if node.op != "call_function" or not isinstance(node.target, torch._ops.HigherOrderOperator) or inner is None:
            continue
        if operator_name(node) not in BLOCKS:
            raise GccError(f"{describe_call(node)}: what this code does depends on the values of a tensor")
        graph_module = getattr(module, str(inner.target))
        _inline(graph_module)
        inputs = node.args[node.args.index(inner) + 1 :]
        placeholders = [other for other in graph_module.graph.nodes if other.op == "placeholder"]
        with module.graph.inserting_before(node):
            if node.args[0] is False:
                inputs = tuple(_detached(node, tensor) for tensor in inputs)
            outputs = module.graph.graph_copy(graph_module.graph, dict(zip(placeholders, inputs, strict=True)))
        for user in list(node.users):
            user.replace_all_uses_with(outputs[user.args[1]])  # type: ignore[index]
            module.graph.erase_node(user)
        module.graph.erase_node(node)
        module.graph.erase_node(inner)
    module.recompile()


def _detached(block: fx.Node, node: Any) -> Any:
    """Insert the call that detaches an input of a block, in the layer that has the block; a size stays."""
    if not isinstance(node.meta["val"], Tensor):
        return node
    detached = block.graph.call_function(torch.ops.aten.detach.default, (node,))
    detached.meta = {**node.meta, "nn_module_stack": block.meta.get("nn_module_stack")}
    return detached


def _live(graph: fx.Graph) -> list[fx.Node]:
    """Return the calls that the output depends on; code may use a tensor for its shape only."""
    live: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        changes = isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
        if node.op == "output" or changes or node in live:
            live.update({node, *node.all_input_nodes})
    return [node for node in graph.nodes if node.op == "call_function" and node in live]

"""The graph of ATen operators that torch.export makes of a module, and where each of them stands in the module's code."""

from __future__ import annotations

import linecache
import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind

from gcc.errors import GccError
from gcc.models.modules import evaluating, outcome_of
from gcc.pruning.graph.rules import RULES


class Graph:
    """The operators that a network in evaluation mode makes of an example, in their order.

    Args:
        network: it stays as it is; an own copy of it is traced.
        inputs: what it takes, each (N, ...).

    Raises:
        GccError: the network does not run on the example, or torch cannot export it.
    """

    def __init__(self, network: nn.Module, *inputs: Tensor) -> None:
        with torch.no_grad(), warnings.catch_warnings(), evaluating(network):
            with blaming(network, f"expected a generator that runs on {', '.join(str(tuple(one.shape)) for one in inputs)}"):
                outcome_of(network, *inputs)
            # The older hooks of spectral and weight norm set the weight in every pass: it can be copied now, and is set while it is traced.
            self.network = deepcopy(network)
            warnings.filterwarnings("ignore", "The tensor attribute")
            with blaming(self.network, "expected code that torch.export follows, the same way for every input"):
                self.program = torch.export.export(self.network, inputs)
        self.module = self.program.graph_module
        _inline(self.module)
        self.calls = _live(self.module.graph)

    def inputs(self) -> Iterator[tuple[fx.Node, InputKind, str | None]]:
        """Return every input of the graph with its kind and, for a tensor of the network, its name."""
        nodes = {node.name: node for node in self.module.graph.nodes if node.op == "placeholder"}
        for given in self.program.graph_signature.input_specs:
            yield nodes[given.arg.name], given.kind, given.target

    def steps(self) -> list[fx.Node]:
        """Return the calls that a graph of other widths has, too: torch leaves `contiguous` out where nothing need be done."""
        return [node for node in self.calls if operator_name(node) != "contiguous"]

    def outputs(self) -> list[fx.Node]:
        """Return what the network returns."""
        (output,) = [node for node in self.module.graph.nodes if node.op == "output"]
        return list(output.all_input_nodes)


def operator_name(node: fx.Node) -> str:
    """Return the name of the ATen operator, without the underscore of one that works in place; with the overload where that tells more."""
    if not isinstance(node.target, torch._ops.OpOverload):
        return getattr(node.target, "__name__", str(node.target))
    schema = node.target._schema
    name, overload = schema.name.removeprefix("aten::").removesuffix("_"), schema.overload_name
    return f"{name}.{overload}" if f"{name}.{overload}" in RULES else name


def arguments(node: fx.Node) -> dict[str, Any]:
    """Return a call's arguments by their names in the operator's schema, defaults included."""
    known: Any = node.target
    schema = known._schema.arguments
    given = dict(zip((argument.name for argument in schema), node.args, strict=False)) | dict(node.kwargs)
    return {argument.name: given.get(argument.name, argument.default_value) for argument in schema}


def owner(node: fx.Node) -> tuple[str, str]:
    """Return path and type of the innermost module that a call belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {"": ("", "")}).values())
    path, kind = stack[-1]
    return re.sub(r"@\d+", "", path), str(kind).rpartition(".")[2]


def place(node: fx.Node) -> str:
    """Return a call in words: the layer that it belongs to, and the line of the module's code."""
    path, kind = owner(node)
    return f"layer {path or 'the network itself'!r} ({kind}), {operator_name(node)}{_line(node.meta.get('stack_trace') or '')}"


def _line(stack: str) -> str:
    lines = re.findall(r'File "(.+)", line (\d+), in .+', stack)
    own = [(file, number) for file, number in lines if not _is_torch(file)]
    if not own:
        return ""
    file, number = own[-1]
    return f" in {Path(file).name}:{number} `{linecache.getline(file, int(number)).strip()}`"


def _is_torch(file: str) -> bool:
    return Path(torch.__file__).parent in Path(file).parents


@contextmanager
def blaming(network: nn.Module, expected: str) -> Iterator[None]:
    """Give an error of a network the layer and the line of code that it comes from."""
    try:
        yield
    except Exception as error:  # What a stranger's module raises can be anything.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise GccError(f"{_where(error, network)}: {reason}; {expected}") from error


def _where(error: Exception, network: nn.Module) -> str:
    paths = {id(module): path for path, module in network.named_modules()}
    layer, line = "", ""
    inside = False
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        first = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
        if id(first) in paths:
            layer, inside = paths[id(first)], True
        if inside and not _is_torch(file):
            line = f" in {Path(file).name}:{number} `{linecache.getline(file, number).strip()}`"
    return f"layer {layer or 'the network itself'!r} ({type(network.get_submodule(layer)).__name__}){line}"


def _inline(module: fx.GraphModule) -> None:
    """Put the graphs of contexts, such as a network's own `no_grad`, in the place of the calls that enter them."""
    for node in list(module.graph.nodes):
        inner = next((arg for arg in node.args if isinstance(arg, fx.Node) and arg.op == "get_attr"), None)
        if node.op != "call_function" or not isinstance(node.target, torch._ops.HigherOrderOperator) or inner is None:
            continue
        graph_module = getattr(module, str(inner.target))
        _inline(graph_module)
        entering = node.args[node.args.index(inner) + 1 :]
        places = [one for one in graph_module.graph.nodes if one.op == "placeholder"]
        with module.graph.inserting_before(node):
            made = module.graph.graph_copy(graph_module.graph, dict(zip(places, entering, strict=True)))
        for user in list(node.users):
            user.replace_all_uses_with(made[user.args[1]])  # type: ignore[index]
            module.graph.erase_node(user)
        module.graph.erase_node(node)
        module.graph.erase_node(inner)
    module.recompile()


def _live(graph: fx.Graph) -> list[fx.Node]:
    """Return the calls that the output depends on; code may look at a tensor for its shape alone."""
    live: set[fx.Node] = set()
    for node in reversed(graph.nodes):
        changes = isinstance(node.target, torch._ops.OpOverload) and node.target._schema.is_mutable
        if node.op == "output" or changes or node in live:
            live.update({node, *node.all_input_nodes})
    return [node for node in graph.nodes if node.op == "call_function" and node in live]

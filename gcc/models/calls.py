"""Calls networks whose code is unknown: arguments, copies that leave the originals as they are, and errors that name layer and line."""

from __future__ import annotations

import inspect
import linecache
import traceback
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import UninitializedParameter
from torch.utils._pytree import tree_leaves, tree_map_only

from gcc.errors import GccError, first_line
from gcc.models.modules import tensors_of
from gcc.utils.garbage import without_collection

Arguments = tuple[Any, ...]
"""The positional arguments of a network: tensors, constants, and containers of these."""
CONSTANTS = (bool, int, float, str, type(None))


def arguments_of(example: Any) -> Arguments:
    """Return an example input as the arguments of a network: a tuple or a list is one argument per item.

    Raises:
        GccError: it has no tensor, an empty one, or something that is neither a tensor nor a constant.
    """
    inputs = tuple(example) if isinstance(example, tuple | list) else (example,)
    leaves = tree_leaves(inputs)
    strange = next((leaf for leaf in leaves if not isinstance(leaf, (Tensor, *CONSTANTS))), None)
    if strange is not None or not tensors_in(inputs):
        name = type(example if strange is None else strange).__name__
        fault = "no tensor" if strange is None else "a value of another type"
        raise GccError(
            f"example_input has {fault}: {name}; expected a tensor, or a tuple with one item for each argument "
            "of the generator: tensors, numbers, text, None, or lists and dictionaries of these"
        )
    tensors = tensors_in(inputs)
    if not any(tensor.numel() for tensor in tensors) or any(tensor.ndim and not len(tensor) for tensor in tensors):
        raise GccError("example_input is empty: expected one sample or more")
    return inputs


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in arguments or an output, in order."""
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def copies(inputs: Arguments) -> Arguments:
    """Return arguments with copies of the tensors, which a network may change in place."""
    copied: Arguments = tree_map_only(Tensor, lambda tensor: tensor.detach().clone(), inputs)
    return copied


def describe_shapes(inputs: Arguments) -> str:
    """Return the arguments for a message: shapes of tensors, and constants as they are."""
    return ", ".join(str(tree_map_only(Tensor, lambda tensor: tuple(tensor.shape), value)) for value in inputs)


def by_argument(network: nn.Module, shapes: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what torch.export must know of each input by the arguments of a network's code; `*inputs` is one argument."""
    first = next(iter(inspect.signature(network.forward).parameters.values()), None)
    return (shapes,) if first is not None and first.kind is first.VAR_POSITIONAL else shapes


def unwrapped(network: nn.Module) -> tuple[nn.Module, str]:
    """Return the network inside `DataParallel`, `DistributedDataParallel` and `torch.compile`, and the path that leads to it.

    The path ends with a dot; it is empty for a network that is not wrapped.

    Raises:
        GccError: the network is a TorchScript program, or its `train` does not return it.
    """
    path = ""
    while True:
        if isinstance(network, torch.jit.ScriptModule):
            raise GccError("the network is a TorchScript program: expected the module that it was compiled from")
        if isinstance(network, nn.DataParallel | DistributedDataParallel):
            network, path = network.module, f"{path}module."
        elif isinstance(network._modules.get("_orig_mod"), nn.Module):
            network, path = network.get_submodule("_orig_mod"), f"{path}_orig_mod."
        else:
            _require_chainable(network)
            return network, path


def _require_chainable(network: nn.Module) -> None:
    if type(network).train is not nn.Module.train and copy_of(network).train(False) is None:
        raise GccError(f"{type(network).__name__}.train returns nothing: end it with `return self`, as torch.nn.Module does")


def require_values(network: nn.Module, inputs: Arguments) -> None:
    """Refuse a network or arguments with a tensor that has no values, or NaN.

    Raises:
        GccError: a parameter is uninitialised, a tensor is on the meta device, or a weight or a running statistic has NaN.
    """
    if any(tensor.is_meta for tensor in tensors_in(inputs)):
        raise GccError("the example input is on the meta device: expected one with values, such as torch.randn(1, 3, 256, 256)")
    for name, parameter in network.named_parameters():
        if parameter.is_meta or isinstance(parameter, UninitializedParameter):
            raise GccError(f"{name} has no values: expected a network that has been run once, on a device that stores its weights")
    statistics = ((name, buffer) for name, buffer in network.named_buffers() if name.endswith(("running_mean", "running_var")))
    for name, tensor in chain(network.named_parameters(), statistics):
        if tensor.isnan().any():
            raise GccError(f"{name} of {type(network).__name__} has NaN: its training has diverged, or its file is damaged")


def copy_of(network: nn.Module) -> nn.Module:
    """Return a copy of a network, without the history of tensors that its last pass stored.

    Raises:
        GccError: it holds something that cannot be copied.
    """
    return _copied(network, {})


def shapes_of(network: nn.Module) -> nn.Module:
    """Return a copy of a network on the meta device; tensors that several layers share are still shared."""
    without_values: dict[int, Any] = {}
    for tensor in tensors_of(network).values():
        empty = torch.empty_like(tensor, device="meta")
        without_values[id(tensor)] = nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty
    return _copied(network, without_values)


def _copied(network: nn.Module, copied: dict[int, Any]) -> nn.Module:
    for module in network.modules():
        attributes = [value for name, value in vars(module).items() if name not in ("_parameters", "_modules")]
        for tensor in tensors_in(attributes):
            if not tensor.is_leaf:
                copied.setdefault(id(tensor), tensor.detach().clone())
        # A layer has a dozen tables of hooks, mostly empty, for each of which deepcopy would take as long as for a weight.
        for table in attributes:
            if type(table) is OrderedDict and not table:
                copied.setdefault(id(table), OrderedDict())
    try:
        with without_collection():
            return deepcopy(network, copied)
    except Exception as error:  # A user's attributes can raise anything.
        raise GccError(f"the network ({type(network).__name__}) cannot be copied: {error}; remove the attribute that holds it") from error


@contextmanager
def located_errors(network: nn.Module, expected: str) -> Iterator[None]:
    """Raise an error of a network as a `GccError` that names the layer and the line of code it comes from."""
    try:
        yield
    except Exception as error:  # A user's module can raise anything.
        raise GccError(f"{_location(error, network)}: {_reason(error)}; {expected}") from error


def _reason(error: Exception) -> str:
    if any(kind.__name__ == "GuardOnDataDependentSymNode" for kind in type(error).__mro__):
        return "what this code does depends on the values of a tensor"
    return first_line(error) or type(error).__name__


def is_from_torch(file: str) -> bool:
    """Return whether a file belongs to torch."""
    return Path(torch.__file__).parent in Path(file).parents


def _location(error: Exception, network: nn.Module) -> str:
    paths = {id(module): path for path, module in network.named_modules()}
    layer, line = "", ""
    inside = False
    for frame, number in traceback.walk_tb(error.__traceback__):
        file = frame.f_code.co_filename
        first = frame.f_locals.get(next(iter(frame.f_code.co_varnames), ""))
        if id(first) in paths:
            layer, inside = paths[id(first)], True
        if inside and not is_from_torch(file) and not _is_ours(file):
            line = f" in {Path(file).name}:{number} `{linecache.getline(file, number).strip()}`"
    place = f"layer {layer!r}" if layer else "the network"
    return f"{place} ({type(network.get_submodule(layer)).__name__}){line}"


def _is_ours(file: str) -> bool:
    """Return whether a file is one that calls networks, as opposed to a network of this package."""
    package = Path(__file__).parents[1]
    names = "calls.py", "assertions.py", "data_access.py", "gate_insertion.py", "value_range.py"
    callers = [Path(__file__).with_name(name) for name in names]
    return Path(file) in callers or any(package / room in Path(file).parents for room in ("pruning", "deploy", "custom"))

"""Optimises generators for inference: removes what only training needs, and computes once what does not change."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm, remove_weight_norm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils._pytree import tree_flatten, tree_map_only

from gcc.deploy.polyphase import PhasedTranspose2d, is_upsampling_x2
from gcc.errors import GccError
from gcc.models.calls import (
    Arguments,
    arguments_of,
    copies,
    copy_of,
    describe_shapes,
    located_errors,
    require_values,
    tensors_in,
    unwrapped,
)
from gcc.models.layers import runs_channels_last
from gcc.models.module_trace import ModuleTrace
from gcc.models.modules import without_autocast
from gcc.models.tensor_reads import TensorReads
from gcc.utils.arguments import checked_arguments
from gcc.utils.backend import float32_precision

NARROW = (torch.float16, torch.bfloat16)
TOLERANCE = 1e-3
"""Largest difference of an output, as a share of the largest output, that counts as rounding."""
REPEATS = 5
"""Number of timed passes when comparing two ways to compute a layer."""
MAX_TIME_RATIO = 0.9
"""An alternative way to compute a layer is used if it takes less than this share of the layer's time."""
PLAIN_WEIGHTS = "expected code that runs with plain weights"


@checked_arguments
@without_autocast()
def optimize(network: nn.Module, example: Any) -> nn.Module:
    """Return a faster copy of a network that computes the same; for inference only.

    Folds batch norms into the convolutions before them if nothing else reads these or the norms, applies spectral and weight norm, and
    stores convolutions in the channels-last layout. On a CPU, it measures for inputs like `example` whether channels last is faster, and
    which transposed convolutions are faster as plain ones. Before it returns the copy, it compares it with the network on `example`, in
    float32 if their precision is lower; if folding changes the output, all norms stay.

    Args:
        network: such as `load("runs/pix2pix/student")`; it is not changed. It may return any number of tensors, in tuples or dictionaries.
        example: an input, (N, ...), on its device, such as `torch.randn(1, 3, 256, 256)`, or a tuple of all arguments; it is not changed.

    Raises:
        GccError: the network does not run on the example, or the copy computes something else, because the network is random or
            reads a tensor outside of torch's functions.
    """
    folded = copy = fold(network, example)
    example = arguments_of(example)
    if tensors_in(example)[0].device.type == "cpu":
        layouts = copy, deepcopy(copy).to(memory_format=torch.contiguous_format)
        with located_errors(copy, f"expected a network that runs on {describe_shapes(example)} in its own precision"):
            copy = min(layouts, key=lambda candidate: seconds_of(candidate, [""], example)[""])
        copy = deepcopy(copy)
        _use_polyphase(copy, example)
        _require_equal(_in_float32(folded), _in_float32(copy), _widened(example))
    return copy


@checked_arguments
@without_autocast()
def fold(network: nn.Module, example: Any) -> nn.Module:
    """Return a copy of a network that computes the same with the same layers: `optimize` without measuring alternatives.

    Args:
        network: it is not changed.
        example: an input, (N, ...), on its device, or a tuple of all arguments.

    Raises:
        GccError: as for `optimize`.
    """
    example, (network, _) = arguments_of(example), unwrapped(network)
    require_values(network, example)
    dtypes = {path: parameters[0].dtype for path, module in network.named_modules() if (parameters := list(module.parameters()))}
    # Rounding in a narrow precision would look like a difference.
    network, example = _in_float32(network), _widened(example)
    trial = copy_of(network).eval()
    with (
        torch.no_grad(),
        float32_precision(),
        located_errors(trial, f"expected a network that runs on {describe_shapes(example)}"),
    ):
        trial(*copies(example))
    plain = copy_of(network).eval()
    for module in plain.modules():
        _apply_reparametrisations(module)
    plain.requires_grad_(False)
    copy = copy_of(plain)
    try:
        _fold_norms(copy, example)
        _use_channels_last(copy, example)
        _require_equal(network, copy, example)
    except GccError:
        # A trace misses what compiled code and NumPy read.
        copy = plain
        _use_channels_last(copy, example)
        _require_equal(network, copy, example)
    # Outer modules come first, so every layer ends with its own precision.
    for path, module in copy.named_modules():
        if path in dtypes:
            module.to(dtypes[path])
    return copy


def _use_polyphase(network: nn.Module, example: Arguments) -> None:
    phases = {path: PhasedTranspose2d(module) for path, module in network.named_modules() if is_upsampling_x2(module)}
    if phases:
        alternative = deepcopy(network)
        for path, module in phases.items():
            _replace(alternative, path, module)
        before, after = (seconds_of(candidate, list(phases), example) for candidate in (network, alternative))
        for path, module in phases.items():
            if after[path] < MAX_TIME_RATIO * before[path]:
                _replace(network, path, module)


@torch.no_grad()
def seconds_of(network: nn.Module, paths: Sequence[str], example: Any) -> dict[str, float]:
    """Return the shortest time of each layer, in seconds, over several passes of the whole network.

    Whole passes leave the caches as cold as they are in use. The path of the network itself is empty.
    """
    seconds = dict.fromkeys(paths, math.inf)
    start: dict[str, float] = {}

    def begin(path: str, *_: object) -> None:
        start[path] = time.perf_counter()

    def end(path: str, *_: object) -> None:
        seconds[path] = min(seconds[path], time.perf_counter() - start[path])

    layers = [(path, network.get_submodule(path)) for path in paths]
    hooks = [layer.register_forward_pre_hook(partial(begin, path)) for path, layer in layers]
    hooks += [layer.register_forward_hook(partial(end, path)) for path, layer in layers]
    for _ in range(REPEATS):
        network(*copies(arguments_of(example)))
    for hook in hooks:
        hook.remove()
    return seconds


@torch.no_grad()
def _use_channels_last(network: nn.Module, example: Arguments) -> None:
    """Store convolutions with channels last, if the network runs so: its code may view features as contiguous ones."""
    if not runs_channels_last(network):
        return
    try:
        # Weights of convolutions over volumes have other layouts.
        network.to(memory_format=torch.channels_last)
        copy_of(network)(*copies(example))
    except Exception:  # A user's module can raise anything.
        network.to(memory_format=torch.contiguous_format)


def _apply_reparametrisations(module: nn.Module) -> None:
    """Store the weights that a module computes under spectral or weight norm, by parametrisation or by hooks, as plain ones."""
    if is_parametrized(module):
        # A copy shares its class with the original, so removal would affect the original too: give the copy a new class.
        module.__class__ = type(type(module).__name__, type(module).__bases__, dict(vars(type(module))))
        for name in list(module.parametrizations):  # type: ignore[arg-type]
            remove_parametrizations(module, name)
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)


def _fold_norms(network: nn.Module, example: Arguments) -> None:
    """Fold batch norms into the convolutions before them, and replace them by identities."""
    reads = TensorReads()
    with float32_precision(), located_errors(network, PLAIN_WEIGHTS), reads:
        trace = ModuleTrace(network, example)
    reads.count(tensors_in(trace.output))
    for path, norm in trace.modules.items():
        before = trace.producer(path)
        convolution = trace.modules[before] if before else None
        if _is_plain_batch_norm(norm) and _is_convolution(convolution):
            values = (*convolution.parameters(), *norm.parameters(), norm.running_mean, norm.running_var)
            if reads.are_single((trace.input(path), *values)):
                _fold(convolution, norm)
                _replace(network, path, nn.Identity())


def _is_convolution(module: nn.Module | None) -> TypeGuard[nn.Conv2d | nn.ConvTranspose2d]:
    """Return whether a module computes what torch's convolution does and no more; torch cannot fold into grouped transposed ones."""
    if not isinstance(module, nn.Conv2d | nn.ConvTranspose2d) or _has_hooks(module) or not {"weight", "bias"} <= module._parameters.keys():
        return False
    if isinstance(module, nn.ConvTranspose2d):
        return type(module).forward is nn.ConvTranspose2d.forward and module.groups == 1
    return type(module).forward is nn.Conv2d.forward


def _is_plain_batch_norm(module: nn.Module) -> TypeGuard[nn.BatchNorm2d]:
    """Return whether a module computes what torch's batch norm does in evaluation, and no more."""
    plain = isinstance(module, nn.BatchNorm2d) and type(module).forward is nn.BatchNorm2d.forward and not _has_hooks(module)
    # Code may set the mode in each pass.
    return plain and module.running_mean is not None and not module.training


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


@torch.no_grad()
def _fold(convolution: nn.Conv2d | nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None and norm.running_var is not None
    folded = fuse_conv_bn_weights(
        convolution.weight,
        convolution.bias,
        norm.running_mean,
        norm.running_var,
        norm.eps,
        norm.weight,
        norm.bias,
        transpose=isinstance(convolution, nn.ConvTranspose2d),
    )
    convolution.weight, convolution.bias = (nn.Parameter(tensor, requires_grad=False) for tensor in folded)


def _replace(network: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    setattr(network.get_submodule(parent), name, module)


def _in_float32(network: nn.Module) -> nn.Module:
    """Return a network as it is, or a copy in float32 if a part of it is in a narrower precision."""
    tensors = tensors_in(network.state_dict())
    return copy_of(network).float() if any(tensor.dtype in NARROW for tensor in tensors) else network


def _widened(inputs: Arguments) -> Arguments:
    """Return arguments with tensors of a narrower precision in float32."""
    widened: Arguments = tree_map_only(Tensor, lambda tensor: tensor.float() if tensor.dtype in NARROW else tensor, inputs)
    return widened


@torch.inference_mode()
def _require_equal(network: nn.Module, copy: nn.Module, example: Arguments) -> None:
    # Copies run, because code may change the network's own buffers.
    original, trial = copy_of(network).eval(), copy_of(copy).eval()
    with float32_precision(), located_errors(trial, PLAIN_WEIGHTS):
        (expected, structure), (outputs, other) = (tree_flatten(candidate(*copies(example))) for candidate in (original, trial))
    if structure != other:
        raise GccError(f"the optimised network returns {other}, expected {structure}")
    for number, (reference, output) in enumerate(zip(expected, outputs, strict=True)):
        if not isinstance(reference, Tensor) or not reference.numel():
            continue
        if not reference.is_floating_point():
            reference, output = reference.double(), output.double()
        difference, scale = float((reference - output).abs().max()), float(reference.abs().max())
        if not difference <= TOLERANCE * scale:
            raise GccError(
                f"the optimised network differs by {difference:.2g} from the original"
                f"{f' in output {number}' if len(expected) > 1 else ''}, with outputs up to {scale:.2g}:"
                " expected a network that returns the same for the same input and reads no tensor outside of torch's functions"
            )

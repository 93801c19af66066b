"""Generators made ready for inference: what training alone needs is taken out, and what can be done once is done."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from gcc.deploy.polyphase import PhasedTranspose2d, is_upsampling_x2
from gcc.errors import GccError
from gcc.models.layers import runs_channels_last
from gcc.models.module_trace import Trace
from gcc.models.modules import evaluating

TOLERANCE = 1e-3
"""Largest difference of an output, as a share of the largest output, that rounding is thought to cause."""
REPEATS = 5
"""Passes by which two ways to compute a layer are compared."""
WORTH = 0.9
"""Share of a layer's time below which another way to compute it is taken."""


def optimize(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy of a network that computes the same, faster: for inference alone.

    Batch norms are folded into the convolutions before them, parametrisations such as spectral norm are carried out, dropout is gone, and
    convolutions have channels last. On a CPU it is tried out, for inputs like `example`, whether that is faster, and which transposed
    convolutions are faster as plain ones. The copy is compared with the network on `example` before it is returned.

    Args:
        network: such as `load("runs/pix2pix/student")`; it stays as it is.
        example: an input, (N, ...), on its device, such as `torch.randn(1, 3, 256, 256)`.

    Raises:
        GccError: the copy does not compute the same, because the network does more with a convolution's output than its batch norm.
    """
    copy = fold(network, example)
    if example.device.type == "cpu":
        copy = min((copy, deepcopy(copy).to(memory_format=torch.contiguous_format)), key=lambda each: seconds_of(each, [""], example)[""])
        _phase(copy, example)
        _require_equal(network, copy, example)
    return copy


def fold(network: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy of a network that computes the same with the same layers: what `optimize` does without choosing among ways to compute.

    Args:
        network: it stays as it is.
        example: an input, (N, ...), on its device.

    Raises:
        GccError: as `optimize`.
    """
    copy = deepcopy(network).eval().requires_grad_(False)
    for module in copy.modules():
        if is_parametrized(module):
            # A copy shares its class with the original, and would take the original's parametrisations away with its own.
            module.__class__ = type(type(module).__name__, type(module).__bases__, dict(vars(type(module))))
            for name in list(module.parametrizations):  # type: ignore[arg-type]
                remove_parametrizations(module, name)
    trace = Trace(copy, example)
    for path, module in trace.modules.items():
        before = trace.maker(path)
        if isinstance(module, nn.BatchNorm2d) and before and _folds(trace.modules[before]):
            _fold(trace.modules[before], module)
            _replace(copy, path, nn.Identity())
        elif isinstance(module, nn.Dropout | nn.Dropout2d):
            _replace(copy, path, nn.Identity())
    _lay_out(copy)
    _require_equal(network, copy, example)
    return copy


def _phase(network: nn.Module, example: Tensor) -> None:
    phases = {path: PhasedTranspose2d(module) for path, module in network.named_modules() if is_upsampling_x2(module)}
    if phases:
        phased = deepcopy(network)
        for path, module in phases.items():
            _replace(phased, path, module)
        before, after = (seconds_of(each, list(phases), example) for each in (network, phased))
        for path, module in phases.items():
            if after[path] < WORTH * before[path]:
                _replace(network, path, module)


@torch.no_grad()
def seconds_of(network: nn.Module, paths: Sequence[str], example: Tensor) -> dict[str, float]:
    """Return the least time that each of these layers takes in passes of the whole network, whose other layers leave little in the caches.

    The network's own path is empty.
    """
    took = dict.fromkeys(paths, math.inf)
    began: dict[str, float] = {}

    def begin(path: str, *_: object) -> None:
        began[path] = time.perf_counter()

    def end(path: str, *_: object) -> None:
        took[path] = min(took[path], time.perf_counter() - began[path])

    layers = [(path, network.get_submodule(path)) for path in paths]
    hooks = [layer.register_forward_pre_hook(partial(begin, path)) for path, layer in layers]
    hooks += [layer.register_forward_hook(partial(end, path)) for path, layer in layers]
    for _ in range(REPEATS):
        network(example)
    for hook in hooks:
        hook.remove()
    return took


def _lay_out(network: nn.Module) -> None:
    if runs_channels_last(network):
        network.to(memory_format=torch.channels_last)


def _folds(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) or (isinstance(module, nn.ConvTranspose2d) and module.groups == 1)


@torch.no_grad()
def _fold(convolution: nn.Module, norm: nn.BatchNorm2d) -> None:
    assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d)
    if norm.running_mean is None or norm.running_var is None:
        raise GccError("a batch norm without running statistics normalises by the batch also in evaluation, and cannot be folded")
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


@torch.inference_mode()
def _require_equal(network: nn.Module, copy: nn.Module, example: Tensor) -> None:
    with evaluating(network):
        wanted, found = network(example), copy(example)
    difference, scale = float((wanted - found).abs().max()), float(wanted.abs().max())
    if not difference <= TOLERANCE * scale:
        raise GccError(
            f"the network made ready for inference differs by {difference:.2g} from the original, whose outputs reach {scale:.2g}:"
            " expected batch norms that alone read what is before them"
        )

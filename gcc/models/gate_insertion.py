"""Inserts gates into discriminators whose code is unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from gcc.errors import GccError, suggestion
from gcc.models.calls import copy_of, located_errors, shapes_of, tensors_in, unwrapped
from gcc.models.module_trace import state_key
from gcc.models.modules import IMAGE_CONVOLUTIONS, NORMS, tensors_of
from gcc.registry.types import Gate, no_gate

OVERRIDE = "name the modules whose outputs are gated: gates=['path.of.a.module', ...]"
WITHOUT = 'do without selective activation: give your networks as Teacher.of(generator, task, discriminator), and `discriminator="full"`'


def with_gates(
    discriminator: nn.Module, example: Tensor, gate: Gate, paths: Sequence[str] | None = None, remedy: str = "change its code"
) -> nn.Module:
    """Return a copy of a discriminator in which gates act on the outputs of some modules.

    Each gate is a child `gate` of its module, so all other modules and tensors keep their names. The copy is without wrappers such as
    `DataParallel`. It is on the meta device if that is the default device, else on the discriminator's device.

    Args:
        discriminator: any network. It does not change.
        example: an input, (N, C, H, W); only its shape and type count.
        gate: builds the gate for a number of channels. With `no_gate`, the copy is as it is, and no module is needed for a gate.
        paths: paths of the modules, each of which returns one tensor (N, C, H, W). None means the norm of each convolution that runs, or
            the convolution itself if no norm reads its output directly. Left out are convolutions that return logits: the last one, unless
            a linear layer follows, and those whose output the discriminator returns; convolutions with a single output channel; and those
            inside a module with an attribute `uncounted`, such as self-attention.
        remedy: what to do if the discriminator does not run on `example`, for the message.

    Raises:
        GccError: the discriminator does not run on `example`, there is no module to gate, or a module cannot be gated.
    """
    network, prefix = unwrapped(discriminator)
    trace = _trace(network, example, remedy)
    copy = shapes_of(network) if torch.empty(0).is_meta else copy_of(network)
    if gate is no_gate:
        return copy
    chosen = trace.gated() if paths is None else list(dict.fromkeys(path.removeprefix(prefix) for path in paths))
    if not chosen:
        raise GccError(
            f"the discriminator ({type(network).__name__}) has no layer for a gate: expected a convolution (nn.Conv2d or "
            f"nn.ConvTranspose2d) before the layer that returns the logits; {OVERRIDE}, or {WITHOUT}"
        )
    channels = {path: trace.channels(path) for path in chosen}
    for path, count in channels.items():
        _insert(copy, path, gate(count))
    return copy


def _insert(network: nn.Module, path: str, gate: nn.Module) -> None:
    module = network.get_submodule(path)
    if hasattr(module, "gate"):
        raise GccError(f"layer {path!r} ({type(module).__name__}) already has an attribute 'gate': rename it, or {OVERRIDE}")
    if isinstance(module, nn.Sequential):
        raise GccError(f"layer {path!r} is an nn.Sequential, which would run its gate twice: name its last layer instead in gates=[...]")
    tensors = tensors_of(module) or tensors_of(network)
    module.add_module("gate", gate.to(next(iter(tensors.values())).device) if tensors else gate)
    module.register_forward_hook(_apply_gate)


def _apply_gate(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    gated: Tensor = module.get_submodule("gate")(output)
    return gated


def _trace(network: nn.Module, example: Tensor, remedy: str) -> _Trace:
    """Run a copy of a network, on the meta device if it can run there, in eval mode."""
    with suppress(Exception):  # A user's module can raise anything.
        return _Trace(shapes_of(network), torch.empty_like(example, device="meta"))
    trial = copy_of(network)
    device = next((tensor.device for tensor in tensors_of(trial).values()), example.device)
    with located_errors(trial, f"expected a discriminator that runs on an input of shape {tuple(example.shape)}: {remedy}"):
        return _Trace(trial, torch.zeros_like(example, device=device))


class _Trace:
    """The outputs of all modules in one forward pass, in order, and the inputs of norms.

    Args:
        network: the network, which is put into eval mode.
        example: its input, (N, C, H, W), on the network's device.
    """

    def __init__(self, network: nn.Module, example: Tensor) -> None:
        self.name = type(network).__name__
        self.modules = {path: module for path, module in network.named_modules(remove_duplicate=False) if path}
        self._outputs: dict[str, list[Any]] = {}
        self._runs: list[str] = []
        self._producers: dict[tuple[int, int], str] = {}
        self._producers_of_norms: dict[str, list[str | None]] = {}
        for path, module in network.named_modules():
            if path:
                module.register_forward_hook(self._recorder(path))
        with torch.no_grad(), torch.device(example.device):
            output = network.eval()(example)
        self._returned = {state_key(tensor) for tensor in tensors_in(output)}

    def gated(self) -> list[str]:
        """Return the paths of the modules to gate, in the order in which their convolutions run."""
        uncounted = tuple(f"{path}." for path, module in self.modules.items() if hasattr(module, "uncounted"))
        layers = [
            path
            for path in self._runs
            if isinstance(self.modules[path], (*IMAGE_CONVOLUTIONS, nn.Linear)) and not path.startswith(uncounted)
        ]
        chosen = []
        for path in dict.fromkeys(layers):
            norm = self._norm(path)
            returned = any(state_key(output) in self._returned for name in (path, norm) if name for output in self._outputs[name])
            convolution = isinstance(self.modules[path], IMAGE_CONVOLUTIONS)
            if convolution and path != layers[-1] and not returned and self.channels(path) > 1:
                chosen.append(norm or path)
        return chosen

    def channels(self, path: str) -> int:
        """Return the number of channels that a module returns.

        Raises:
            GccError: there is no such module, it did not run, or it returns something other than a tensor (N, C, H, W).
        """
        if path not in self.modules:
            raise GccError(f"gates: {self.name} has no module {path!r}{suggestion(path, self.modules)}")
        layer = f"layer {path!r} ({type(self.modules[path]).__name__})"
        first = next(name for name, module in self.modules.items() if module is self.modules[path])
        outputs = self._outputs.get(first, [])
        if not outputs:
            raise GccError(f"{layer} cannot be gated: the discriminator does not call it; {OVERRIDE}")
        counts = set()
        for output in outputs:
            if not isinstance(output, Tensor) or output.ndim != 4:
                description = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise GccError(f"{layer} cannot be gated: it returns {description}, expected one tensor (N, C, H, W); {OVERRIDE}")
            counts.add(output.shape[1])
        if len(counts) > 1:
            raise GccError(f"{layer} cannot be gated: it returns {' and '.join(map(str, sorted(counts)))} channels in turn; {OVERRIDE}")
        return int(counts.pop())

    def _norm(self, path: str) -> str | None:
        """Return the path of the norm that directly reads each output of a convolution and nothing else; None if there is no such norm."""
        runs = len(self._outputs[path])
        norms = [norm for norm, producers in self._producers_of_norms.items() if producers == [path] * runs]
        return norms[0] if len(norms) == 1 else None

    def _recorder(self, path: str) -> Callable[[nn.Module, tuple[Any, ...], Any], None]:
        def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            # Tensors are stored so that no other tensor gets the same id.
            self._outputs.setdefault(path, []).append(output)
            self._runs.append(path)
            if isinstance(output, Tensor) and isinstance(module, IMAGE_CONVOLUTIONS):
                self._producers[state_key(output)] = path
            if isinstance(module, NORMS) and inputs and isinstance(inputs[0], Tensor):
                self._producers_of_norms.setdefault(path, []).append(self._producers.get(state_key(inputs[0])))

        return record

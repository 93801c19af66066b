"""Finds where numbers stop being finite: the loss and the step at no cost, the layer at the price of synchronising with the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.errors import TrainingError
from gcc.training.loss_tree import LossTree, Path, leaves


def not_finite(losses: Sequence[Path], number: int, where: str, dtype: torch.dtype) -> str:
    """Return the message about losses that are not finite since step `number` of a run whose networks compute in a precision."""
    names = ", ".join(map("/".join, losses))
    return f"{names} is not finite at {where}, since step {number}: {_remedy(dtype)}; `detect_anomaly=True` names a layer that causes it"


def _remedy(dtype: torch.dtype) -> str:
    """Return what to do about values that are not finite, where networks compute in a precision."""
    lower = "give lower `lr_g=...` and `lr_d=...`"
    return lower if dtype == torch.float32 else f'{lower}, or use `amp="off"`'


class FiniteLosses:
    """Remembers the first step whose losses were not finite, without synchronising with the device."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget every step."""
        self._first: dict[tuple[Path, ...], tuple[Tensor, Tensor]] = {}

    def update(self, number: int, losses: LossTree) -> None:
        """Take in the losses of step `number`, counted from 1."""
        paths, values = zip(*leaves(losses), strict=True)
        broken = torch.stack([loss.float() for loss in values]).isfinite().logical_not()
        if paths not in self._first:
            self._first[paths] = torch.zeros((), dtype=torch.int64, device=broken.device), torch.zeros_like(broken)
        first, which = self._first[paths]
        is_first = broken.any() & (first == 0)
        self._first[paths] = torch.where(is_first, number, first), torch.where(is_first, broken, which)

    def state_dict(self) -> dict[str, Any]:
        """Return what is remembered as nested plain values and tensors, without copying."""
        return {"first": [{"paths": paths, "step": step, "broken": broken} for paths, (step, broken) in self._first.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load what `state_dict` returned, on the device of the losses to come."""
        self._first = {tuple(map(tuple, first["paths"])): (first["step"], first["broken"]) for first in state["first"]}

    @property
    def broken(self) -> tuple[int, list[Path]]:
        """The first step whose losses were not finite, and these losses; 0 and an empty list if all were finite."""
        steps = [
            (int(first), [path for path, is_broken in zip(paths, which.tolist(), strict=True) if is_broken])
            for paths, (first, which) in self._first.items()
        ]
        return min((step for step in steps if step[0]), default=(0, []))


def register_anomaly_hooks(network: nn.Module, title: str, dtype: torch.dtype = torch.float32, *, scaled: bool) -> None:
    """Let training stop at the first layer whose output, or parameter whose gradient, is not finite.

    Every layer then synchronises with the device.

    Args:
        network: the network to observe from now on.
        title: the network's name in messages.
        dtype: the precision that the network computes in.
        scaled: whether gradients are scaled. They are not observed then, since a scaler lets them overflow now and then.
    """
    for path, module in network.named_modules():
        layer = f"{title}: layer {path or 'itself'} ({type(module).__name__})"
        module.register_forward_hook(partial(_check_output, layer, _remedy(dtype)))
    for name, parameter in () if scaled else network.named_parameters():
        requires_grad = parameter.requires_grad
        # Only a parameter that requires a gradient accepts the hook.
        register: Any = parameter.requires_grad_(True).register_post_accumulate_grad_hook
        register(partial(_check_gradient, f"{title}: the gradient of {name}", _remedy(dtype)))
        parameter.requires_grad_(requires_grad)


def _check_output(layer: str, remedy: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if isinstance(output, Tensor) and not output.isfinite().all():
        broken = [value for value in inputs if isinstance(value, Tensor) and not value.isfinite().all()]
        parameters = [name for name, value in module.named_parameters() if not value.isfinite().all()]
        cause = "receives values that are not finite" if broken else "returns values that are not finite"
        weights = f", with such values in its {', '.join(parameters[:3])}" if parameters else ""
        raise TrainingError(f"{layer} {cause}{weights}: {remedy}")


def _check_gradient(title: str, remedy: str, parameter: Tensor) -> None:
    if parameter.grad is not None and not parameter.grad.isfinite().all():
        raise TrainingError(f"{title} is not finite: {remedy}")

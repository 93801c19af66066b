"""Finding where numbers stop being finite: which loss and when, at no cost; which layer, at the price of waiting for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gcc.errors import TrainingError

UNSTABLE = "lower lr_g and lr_d with --set, or use --amp off"
"""What to do about values that are not finite."""


def not_finite(losses: Sequence[str], number: int, where: str) -> str:
    """Return what is to be told of losses of which iteration `number` was the first that was not finite."""
    return f"{', '.join(losses)} is not finite at {where}, since step {number}: {UNSTABLE}; --detect-anomaly names a layer that causes it"


class FiniteLosses:
    """Remembers the first iteration in which losses were not finite, without waiting for the device."""

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Start anew: all is finite."""
        self._first: dict[tuple[str, ...], tuple[Tensor, Tensor]] = {}

    def update(self, number: int, losses: Mapping[str, Tensor]) -> None:
        """Take in the losses of iteration `number`, counted from 1, scalars on the device."""
        names = tuple(losses)
        broken = torch.stack([loss.float() for loss in losses.values()]).isfinite().logical_not()
        if names not in self._first:
            self._first[names] = torch.zeros((), dtype=torch.int64, device=broken.device), torch.zeros_like(broken)
        first, which = self._first[names]
        fresh = broken.any() & (first == 0)
        self._first[names] = torch.where(fresh, number, first), torch.where(fresh, broken, which)

    @property
    def broken(self) -> tuple[int, list[str]]:
        """The first iteration in which losses were not finite, and their names: 0 and none where all were."""
        found = [
            (int(first), [name for name, one in zip(names, which.tolist(), strict=True) if one])
            for names, (first, which) in self._first.items()
        ]
        return min((each for each in found if each[0]), default=(0, []))


def detect(network: nn.Module, title: str, *, scaled: bool) -> None:
    """Let a network end training at the first layer whose output, or parameter whose gradient, is not finite.

    Every layer then waits for the device.

    Args:
        network: what is watched from now on.
        title: what it is called.
        scaled: whether gradients are scaled, and are not watched: that they overflow now and then is the scaler's way.
    """
    for path, module in network.named_modules():
        module.register_forward_hook(partial(_check_output, f"{title}: layer {path or 'of itself'} ({type(module).__name__})"))
    for name, parameter in () if scaled else network.named_parameters():
        moves = parameter.requires_grad
        # Only what gathers gradients takes a hook.
        register: Any = parameter.requires_grad_(True).register_post_accumulate_grad_hook
        register(partial(_check_gradient, f"{title}: the gradient of {name}"))
        parameter.requires_grad_(moves)


def _check_output(layer: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    if isinstance(output, Tensor) and not output.isfinite().all():
        given = [value for value in inputs if isinstance(value, Tensor) and not value.isfinite().all()]
        parameters = [name for name, value in module.named_parameters() if not value.isfinite().all()]
        cause = "is given values that are not finite" if given else "makes values that are not finite"
        weights = f", with such values in its {', '.join(parameters[:3])}" if parameters else ""
        raise TrainingError(f"{layer} {cause}{weights}: {UNSTABLE}")


def _check_gradient(title: str, parameter: Tensor) -> None:
    if parameter.grad is not None and not parameter.grad.isfinite().all():
        raise TrainingError(f"{title} is not finite: {UNSTABLE}")

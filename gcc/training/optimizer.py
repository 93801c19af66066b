"""An optimiser with its scaler, and the parameters that it alone moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gcc.training.precision import ExecutionConfig


class ScopedOptimizer:
    """Adam over parameters that nothing else moves.

    Args:
        parameters: each once.
        lr: learning rate at factor 1.
        betas: of Adam.
        execution: tells whether gradients are scaled, and over which processes they are averaged.
        penalise: called between backward pass and step, to add to the unscaled gradients.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        execution: ExecutionConfig,
        penalise: Callable[[], None] | None = None,
    ) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        # As a group of its own, which may be empty.
        self.optimizer = torch.optim.Adam([{"params": self.parameters}], lr=lr, betas=betas, fused=True)
        self.scaler = execution.scaler()
        self.ranks = execution.ranks
        self._penalise = penalise
        self._gathering = False

    @contextmanager
    def trainable(self) -> Iterator[None]:
        """Let graphs that are built in this context reach the parameters; after it they are frozen."""
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        try:
            yield
        finally:
            self.freeze()

    def freeze(self) -> None:
        """Keep graphs from the parameters."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def accumulate(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Add the gradient of a part of the next step's loss; nothing else that it depends on gathers a gradient.

        Args:
            loss: a scalar; of several processes, the mean of theirs counts.
            retain_graph: keep its graph, for another loss that shares a part of it.
        """
        if not self._gathering:
            self.optimizer.zero_grad(set_to_none=True)
        self._gathering = True
        torch.autograd.backward(self.scaler.scale(loss), inputs=self.parameters, retain_graph=retain_graph)

    def step(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Move the parameters once against the gradient of `loss` and what has been gathered before; see `accumulate`."""
        self.accumulate(loss, retain_graph=retain_graph)
        self._average()
        if self._penalise is not None:
            self.scaler.unscale_(self.optimizer)
            self._penalise()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.zero_grad()

    @contextmanager
    def gradients(self, loss: Tensor) -> Iterator[None]:
        """Leave the gradient that `step` would move against in the parameters inside this context."""
        self.accumulate(loss)
        self._average()
        self.scaler.unscale_(self.optimizer)
        try:
            yield
        finally:
            self.scaler.update()
            self.zero_grad()

    def _average(self) -> None:
        self.ranks.average_gradients(parameter.grad for parameter in self.parameters if parameter.grad is not None)
        self._gathering = False

    def zero_grad(self) -> None:
        """Free the gradients, whose room the backward passes of others need."""
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return what the optimiser remembers of each parameter, by its number, and the scaler; no copy."""
        remembered = {str(number): self.optimizer.state.get(parameter, {}) for number, parameter in enumerate(self.parameters)}
        return {"moments": {number: dict(moments) for number, moments in remembered.items()}, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, memory: Mapping[str, Any]) -> None:
        """Take up a copy of what `state_dict` returned."""
        self.reset_state()
        for parameter, moments in zip(self.parameters, memory["moments"].values(), strict=True):
            if moments:
                self.optimizer.state[parameter] = {name: _beside(parameter, value) for name, value in moments.items()}
        self.scaler.load_state_dict(dict(memory["scaler"]))

    def scale_lr(self, factor: float) -> None:
        """Multiply the base of the learning rate from now on."""
        self.lr *= factor

    def reset_state(self) -> None:
        """Start the moments of Adam anew."""
        self.optimizer.state.clear()

    def set_lr_factor(self, factor: float) -> None:
        """Set the learning rate to `factor` times its base."""
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.lr


def _beside(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """Return a copy of what an optimiser remembers, in the layout of the parameter, which a fused step relies on."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)

"""An optimizer with its gradient scaler, and the parameters that only it updates."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gcc.training.precision import ExecutionConfig


class ScopedOptimizer:
    """Adam over parameters that nothing else updates.

    Args:
        parameters: the parameters, each once.
        lr: learning rate at factor 1.
        betas: Adam's betas.
        execution: decides whether gradients are scaled, and names the ranks that average them.
        penalise: adds to the unscaled gradients; called between the backward pass and the step.
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
        # A parameter group may be empty, a plain list of parameters may not.
        self.optimizer = torch.optim.Adam([{"params": self.parameters}], lr=lr, betas=betas, fused=True)
        self.scaler = execution.scaler()
        self.ranks = execution.ranks
        self._penalise = penalise
        self._accumulating = False

    @contextmanager
    def trainable(self) -> Iterator[None]:
        """Let the parameters require gradients in this context, and freeze them afterwards."""
        for parameter in self.parameters:
            parameter.requires_grad_(True)
        try:
            yield
        finally:
            self.freeze()

    def freeze(self) -> None:
        """Let the parameters require no gradients."""
        for parameter in self.parameters:
            parameter.requires_grad_(False)

    def accumulate(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Add the gradient of a part of the next step's loss. Only this optimizer's parameters accumulate it.

        Args:
            loss: a scalar. With several ranks, the mean of their losses counts.
            retain_graph: keep the graph, for another loss that shares a part of it.
        """
        if not self._accumulating:
            self.optimizer.zero_grad(set_to_none=True)
        self._accumulating = True
        torch.autograd.backward(self.scaler.scale(loss), inputs=self.parameters, retain_graph=retain_graph)

    def step(self, loss: Tensor, *, retain_graph: bool = False) -> None:
        """Update the parameters once with the gradient of `loss` and all gradients accumulated since the last step; see `accumulate`."""
        self.accumulate(loss, retain_graph=retain_graph)
        self._average()
        if self._penalise is not None:
            self.scaler.unscale_(self.optimizer)
            self._penalise()
        self._set_capturable()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.zero_grad()

    @contextmanager
    def gradients(self, loss: Tensor) -> Iterator[bool]:
        """Leave the gradient that `step` would use in the parameters, inside this context, and return whether it can be used.

        It cannot if it overflowed only because the loss was scaled; the scale is lower afterwards.
        """
        self.accumulate(loss)
        self._average()
        self.scaler.unscale_(self.optimizer)
        is_scaled = self.scaler.is_enabled() and self.scaler.get_scale() > 1
        try:
            yield not is_scaled or all(bool(parameter.grad.isfinite().all()) for parameter in self.parameters if parameter.grad is not None)
        finally:
            self.scaler.update()
            self.zero_grad()

    def _set_capturable(self) -> None:
        """Let a CUDA graph contain the next step if one is being captured. Torch warns of optimizers that always allow it."""
        is_capturing = torch.cuda.is_available() and torch.cuda.is_current_stream_capturing()
        for group in self.optimizer.param_groups:
            group["capturable"] = is_capturing

    def _average(self) -> None:
        self.ranks.average_gradients(parameter.grad for parameter in self.parameters if parameter.grad is not None)
        self._accumulating = False

    def zero_grad(self) -> None:
        """Free the gradients. Other backward passes need the memory."""
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return references to Adam's moments of each parameter, by its number, and to the scaler's state."""
        moments = {str(number): dict(self.optimizer.state.get(parameter, {})) for number, parameter in enumerate(self.parameters)}
        return {"moments": moments, "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Load a copy of what `state_dict` returned."""
        self.reset_state()
        for parameter, moments in zip(self.parameters, state["moments"].values(), strict=True):
            if moments:
                self.optimizer.state[parameter] = {name: _in_layout_of(parameter, value) for name, value in moments.items()}
        # A run in another precision had no scaler in use, and saved an empty state.
        if state["scaler"]:
            self.scaler.load_state_dict(dict(state["scaler"]))

    def scale_lr(self, factor: float) -> None:
        """Multiply the base learning rate."""
        self.lr *= factor

    def reset_state(self) -> None:
        """Discard Adam's moments."""
        self.optimizer.state.clear()

    def set_lr_factor(self, factor: float) -> None:
        """Set the learning rate to `factor` times the base learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = factor * self.lr


def _in_layout_of(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """Return a copy of an optimizer's state tensor in the memory layout of its parameter, which fused steps need."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)

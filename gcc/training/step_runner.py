"""How the loop runs a training step: operator by operator, or as one CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gcc.errors import CaptureError, first_line
from gcc.registry import Batch
from gcc.training.loss_tree import LossTree, Path, leaves, nested
from gcc.utils.user_warnings import warn_user

TrainingStep = Callable[..., LossTree]
"""Trains on one batch from each stream, and returns the losses."""

WORTH_CAPTURING = 8
"""Steps that an epoch must have left. Capturing takes as long as a few steps that run operator by operator."""


class StepRunner(Protocol):
    """Runs the training steps of a stage."""

    def begin_epoch(self, steps: int) -> None:
        """Prepare for the `steps` steps that are left in an epoch."""

    def __call__(self, *batches: Batch) -> LossTree:
        """Train on a batch from each stream."""


class EagerStep:
    """Runs a training step operator by operator.

    Args:
        step: the step.
    """

    def __init__(self, step: TrainingStep) -> None:
        self._step = step

    def begin_epoch(self, steps: int) -> None:
        """Do nothing."""

    def __call__(self, *batches: Batch) -> LossTree:
        """Train on a batch from each stream."""
        return self._step(*batches)


class GraphedStep:
    """Runs most steps of an epoch as one CUDA graph, which keeps the GPU busy without Python.

    The first step of an epoch runs operator by operator: optimizers create their state in it, and cuDNN chooses its algorithms. The next
    one is captured, and the others replay the capture with other batches. A graph contains the values that Python computes once per epoch,
    such as learning rates and Eq. III's beta, and the addresses of the optimizers' state, which a rollback between two epochs replaces. So
    every epoch captures anew.

    A step that makes the host wait for the device cannot be captured. The second step of the first epoch that is long enough shows whether
    it does; all steps then run operator by operator, with one warning.

    Args:
        step: the step.
    """

    def __init__(self, step: TrainingStep) -> None:
        self._step = step
        self._waits: bool | None = None
        """Whether the step makes the host wait; None before that is known."""
        self._eager_steps = 0
        self._captured: _Captured | None = None

    def begin_epoch(self, steps: int) -> None:
        """Release the graph of the last epoch, and decide whether this one is long enough for another."""
        self._captured = None
        self._eager_steps = 1 if steps >= WORTH_CAPTURING else steps

    def __call__(self, *batches: Batch) -> LossTree:
        """Train on a batch from each stream."""
        self._eager_steps -= 1
        if self._waits or self._eager_steps >= 0:
            return self._step(*batches)
        if self._waits is None:
            return self._observed(*batches)
        if self._captured is None:
            self._captured = _Captured.of(self._step, batches)
        return self._captured.replay(batches)

    def _observed(self, *batches: Batch) -> LossTree:
        """Run the step operator by operator, and find out whether it makes the host wait."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                losses = self._step(*batches)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        waits = [warning for warning in caught if "synchronizing CUDA operation" in str(warning.message)]
        for warning in caught:
            if warning not in waits:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        self._waits = bool(waits)
        if waits:
            line = f"{waits[0].filename}:{waits[0].lineno}"
            warn_user(f"the training step waits for the GPU in {line}, so it is not replayed as a CUDA graph", UserWarning)
        return losses


@dataclass(frozen=True)
class _Captured:
    """A captured training step.

    Attributes:
        graph: the kernels.
        inputs: the batches that they read.
        paths: the paths of the losses.
        losses: the losses that they write, (n,).
    """

    graph: torch.cuda.CUDAGraph
    inputs: Sequence[Mapping[str, Tensor]]
    paths: Sequence[Path]
    losses: Tensor

    @classmethod
    def of(cls, step: TrainingStep, batches: Sequence[Batch]) -> _Captured:
        """Capture a step. Nothing is computed.

        Raises:
            CaptureError: the step cannot be captured.
        """
        inputs = [{name: tensor.clone() for name, tensor in batch.items()} for batch in batches]
        graph, before = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            # Without a stream of its own, a capture would use the device of the process's first one. Another thread pins the memory of
            # later batches meanwhile.
            stream = torch.cuda.Stream(before.device)  # type: ignore[no-untyped-call]
            with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                paths, values = zip(*leaves(step(*inputs)), strict=True)
                losses = torch.stack([loss.float() for loss in values])
        except RuntimeError as error:
            # A capture that fails to end leaves its stream current.
            torch.cuda.set_stream(before)
            cause = _first_cause(error)
            if isinstance(cause, torch.OutOfMemoryError):
                raise cause from error
            message = f"the training step cannot be captured as a CUDA graph ({first_line(cause)}): run it with `eager=True`"
            raise CaptureError(message) from error
        return cls(graph, inputs, paths, losses)

    def replay(self, batches: Sequence[Batch]) -> LossTree:
        """Train on other batches of the same shapes."""
        for inputs, batch in zip(self.inputs, batches, strict=True):
            torch._foreach_copy_(list(inputs.values()), [batch[name] for name in inputs])
        self.graph.replay()
        return nested(dict(zip(self.paths, self.losses.clone().unbind(), strict=True)))


def _first_cause(error: BaseException) -> BaseException:
    """Return the error during whose handling the others were raised."""
    while error.__context__ is not None:
        error = error.__context__
    return error

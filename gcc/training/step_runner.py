"""How the loop runs a training step: operator by operator, or as one CUDA graph."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gcc.errors import TrainingError, first_line
from gcc.registry import Batch
from gcc.training.loss_tree import LossTree, Path, leaves, nested

TrainingStep = Callable[..., LossTree]
"""Trains on one batch from each stream, and returns the losses."""

WORTH_CAPTURING = 8
"""Steps that an epoch must have left. Capturing takes as long as a few steps that run operator by operator."""


class EagerStep:
    """Runs a training step operator by operator.

    Args:
        step: the step.
    """

    def __init__(self, step: TrainingStep) -> None:
        self.step = step

    def begin_epoch(self, steps: int) -> None:
        """Prepare for the `steps` steps that are left in an epoch."""

    def __call__(self, *batches: Batch) -> LossTree:
        """Train on a batch from each stream."""
        return self.step(*batches)


class GraphedStep(EagerStep):
    """Runs most steps of an epoch as one CUDA graph, which keeps the GPU busy without Python.

    The first step of an epoch runs operator by operator: optimizers create their state in it, and cuDNN chooses its algorithms. The next
    one is captured, and the others replay the capture with other batches. A graph contains the values that Python computes once per epoch,
    such as learning rates and Eq. III's beta, and the addresses of the optimizers' state, which a rollback between two epochs replaces. So
    every epoch captures anew.

    A step that makes the host wait for the device cannot be captured. If the second step of the stage does, all steps run operator by
    operator, with one warning.

    Args:
        step: the step.
    """

    def __init__(self, step: TrainingStep) -> None:
        super().__init__(step)
        self._waits: bool | None = None
        """Whether the step makes the host wait; None before that is known."""
        self._eager_steps = 0
        self._captured: _Captured | None = None

    def begin_epoch(self, steps: int) -> None:
        self._captured = None
        self._eager_steps = 1 if steps >= WORTH_CAPTURING else steps

    def __call__(self, *batches: Batch) -> LossTree:
        self._eager_steps -= 1
        if self._waits or self._eager_steps >= 0:
            return self.step(*batches)
        if self._waits is None:
            return self._observed(*batches)
        if self._captured is None:
            self._captured = _Captured.of(self.step, batches)
        return self._captured.replay(batches)

    def _observed(self, *batches: Batch) -> LossTree:
        """Run the step operator by operator, and find out whether it makes the host wait."""
        before = torch.cuda.get_sync_debug_mode()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                losses = self.step(*batches)
            finally:
                torch.cuda.set_sync_debug_mode(before)
        waits = [warning for warning in caught if "synchronizing CUDA operation" in str(warning.message)]
        self._waits = bool(waits)
        if waits:
            where = f"{waits[0].filename}:{waits[0].lineno}"
            warnings.warn(f"the training step waits for the GPU in {where}, so it is not replayed as a CUDA graph", stacklevel=2)
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
            TrainingError: the step cannot be captured.
        """
        inputs = [{name: tensor.clone() for name, tensor in batch.items()} for batch in batches]
        graph = torch.cuda.CUDAGraph()
        try:
            # Another thread pins the memory of later batches meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                paths, values = zip(*leaves(step(*inputs)), strict=True)
                losses = torch.stack([loss.float() for loss in values])
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            reason = first_line(error)
            raise TrainingError(f"the training step cannot be captured as a CUDA graph ({reason}): run it with --eager") from error
        return cls(graph, inputs, paths, losses)

    def replay(self, batches: Sequence[Batch]) -> LossTree:
        """Train on other batches of the same shapes."""
        for inputs, batch in zip(self.inputs, batches, strict=True):
            torch._foreach_copy_(list(inputs.values()), [batch[name] for name in inputs])
        self.graph.replay()
        return nested(dict(zip(self.paths, self.losses.clone().unbind(), strict=True)))

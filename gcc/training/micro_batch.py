"""Runs networks on one micro-batch at a time, to save memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._pytree import tree_map
from torch.utils.checkpoint import checkpoint

from gcc.losses.distillation import FeatureHooks
from gcc.training.precision import ExecutionConfig

PartOutput = tuple[Any, dict[str, Tensor], dict[str, Tensor]]
"""A network's output for one micro-batch, its tapped features, and its buffers after the pass."""


class _RequiresGrad:
    """A reusable context in which the network's parameters require gradients as they did when this object was created."""

    def __init__(self, network: nn.Module) -> None:
        self._inside = [(parameter, parameter.requires_grad) for parameter in network.parameters()]

    def __enter__(self) -> None:
        self._outside = [(parameter, parameter.requires_grad) for parameter, _ in self._inside]
        self._set(self._inside)

    def __exit__(self, *error: object) -> None:
        self._set(self._outside)

    @staticmethod
    def _set(flags: list[tuple[nn.Parameter, bool]]) -> None:
        for parameter, requires_grad in flags:
            parameter.requires_grad_(requires_grad)


class MicroBatched(nn.Module):
    """Runs a network on whole batches, or on micro-batches with the same gradients.

    Each micro-batch is checkpointed (Chen et al. 2016): only its inputs and outputs are stored, and it is recomputed in the backward pass.
    Interactions between samples of different micro-batches are lost: batch norm normalises each one separately, and then updates its
    running statistics with the mean over all micro-batches.

    Args:
        network: the network; its parameters stay where they are.
        execution: the size of a micro-batch, and whether the network is compiled.
        taps: the layers whose features can be stored, by module path.
    """

    def __init__(self, network: nn.Module, execution: ExecutionConfig, taps: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.network = network
        self.size = execution.micro_batch
        self.taps = FeatureHooks(taps)
        self._run = execution.compiled(network)

    def forward(self, *inputs: Tensor) -> Any:
        """Return the network's output for its inputs, (N, ...) each: a tensor (N, ...), or a tuple of such tensors."""
        if self.size is None or len(inputs[0]) <= self.size:
            return self._run(*inputs)
        before = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        micro_batches = zip(*(torch.split(tensor, self.size) for tensor in inputs), strict=True)
        flags = _RequiresGrad(self.network)
        outputs: list[PartOutput] = [
            # The recomputation in the backward pass needs the same parameters to require gradients as this pass does.
            checkpoint(self._forward_part, before, *part, use_reentrant=False, context_fn=lambda: (nullcontext(), flags))
            for part in micro_batches
        ]
        self._average_buffers([buffers for _, _, buffers in outputs])
        if self.taps.features is not None:
            self.taps.features |= {path: torch.cat([features[path] for _, features, _ in outputs]) for path in outputs[0][1]}
        return tree_map(lambda *parts: torch.cat(parts), *(output for output, _, _ in outputs))

    def _forward_part(self, before: Mapping[str, Tensor], *inputs: Tensor) -> PartOutput:
        # Every micro-batch, recomputed or not, starts from the same buffers, so that a spectral norm has the same weight in all of them.
        buffers = {name: buffer.clone() for name, buffer in before.items()}
        features: dict[str, Tensor] | None = None if self.taps.features is None else {}
        with self.taps.storing(features):
            output = functional_call(self.network, buffers, inputs)
        return output, features or {}, buffers

    @torch.no_grad()
    def _average_buffers(self, after: Sequence[Mapping[str, Tensor]]) -> None:
        """Set the network's buffers to their mean over all micro-batches."""
        for name, buffer in self.network.named_buffers():
            first, *others = (buffers[name] for buffers in after)
            # Exact if all are equal.
            buffer.copy_(first + sum((other - first for other in others), torch.zeros_like(first)) / len(after))

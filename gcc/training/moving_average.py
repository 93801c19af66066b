"""Exponential moving averages of networks that train."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var")
"""The ends of the names of buffers that are averaged."""


class MovingAverage(nn.Module):
    """A copy of a network whose weights and running statistics are moving averages of those of the network.

    After step t, counted from 1, the copy moves by 1 - min(decay, t / (t + 9)) of the way to the network, so that the first weights are
    soon forgotten. Other buffers, such as counts of batches and the vectors of spectral norm, are copied.

    Attributes:
        network: the averaged network, in eval mode.
        step: the number of updates.

    Args:
        network: the network that trains.
        decay: the share that the average keeps of itself in each update, in [0, 1).
    """

    step: Tensor

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        self.network = deepcopy(network).requires_grad_(False).eval()
        self.decay = decay
        self.register_buffer("step", torch.zeros((), device=next(network.parameters()).device))

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the present state of the network, without synchronising with the device."""
        self.step += 1
        share = 1 - (self.step / (self.step + 9)).clamp(max=self.decay)
        averages: list[Tensor] = [*self.network.parameters()]
        current: list[Tensor] = [*network.parameters()]
        # They are looked up in every step: a network may assign a new tensor to a buffer in its forward pass.
        for (name, average), buffer in zip(self.network.named_buffers(), network.buffers(), strict=True):
            if name.endswith(STATISTICS):
                averages.append(average)
                current.append(buffer)
            else:
                average.copy_(buffer)
        differences = torch._foreach_sub(current, averages)
        torch._foreach_mul_(differences, share)
        torch._foreach_add_(averages, differences)

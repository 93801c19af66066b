"""Balances the discriminator's capacity against the generator's (Li et al. 2021, Eq. 5-7, II and III).

`gcc.training.student.StudentPair.step_alpha` computes Eq. 8, which weighs L_global against L_D.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def imbalance(loss_g: Tensor, loss_d_fake: Tensor) -> Tensor:
    """Return `|L_G - L_Dfake|`, the imbalance of a pair (Eq. 5 and 6)."""
    return (loss_g - loss_d_fake).abs()


def global_loss(loss_g: Tensor, loss_d_fake: Tensor, target: Tensor) -> Tensor:
    """Return `L_global = | |L_G - L_Dfake| - L_target |` (Eq. 7), each a scalar."""
    return (imbalance(loss_g, loss_d_fake) - target).abs()


class SmoothedTarget(nn.Module):
    r"""The smoothed imbalance of the teacher pair, L_target.

    `L_target <- beta L_target + (1 - beta) |L_G^T - L_Dfake^T|` (Eq. II) with `beta = epoch / total epochs` (Eq. III). The first
    observation initialises the target. In the last epoch beta is 1, so the target no longer changes; a run of one epoch never changes it.
    The target is part of the run's state, hence a module with buffers. The host never waits for the device.
    """

    value: Tensor
    started: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("value", torch.zeros(()))
        self.register_buffer("started", torch.zeros(()))

    @torch.no_grad()
    def update(self, new: Tensor, epoch: int, total_epochs: int) -> Tensor:
        """Update the target with the teacher pair's imbalance in `epoch`, counted from 1 as in Algorithm 1, and return a copy of it."""
        beta = epoch / total_epochs * self.started
        self.value.lerp_(new.detach().to(self.value.dtype), 1 - beta)
        self.started.fill_(1)
        return self.value.clone()

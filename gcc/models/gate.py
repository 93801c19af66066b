"""Selective activation: channels of the student's discriminator that switch on and off (Li et al. 2021, Eq. 3 and 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelGate(nn.Module):
    r"""Keeps channel i where its retention factor reaches the threshold.

    `s(alpha_i) = 1 if alpha_i >= tau else 0` and `O_i <- s(alpha_i) O_i` (Eq. 3). The gradient passes straight through (Eq. 4):
    `dL/dalpha_i = sum over n, h, w of dL/dO^_i O_i`, with `O^` the gated output, so a closed channel still learns and can open again.

    Args:
        channels: C, the number of retention factors; each starts at 1.
        tau: the threshold; at `alpha = tau` the channel is on.
    """

    def __init__(self, channels: int, tau: float) -> None:
        super().__init__()
        self.tau = tau
        self.alpha = nn.Parameter(torch.ones(channels))

    def open(self) -> Tensor:
        """Return which channels are on, (C,) of booleans."""
        return self.alpha.detach() >= self.tau

    def forward(self, features: Tensor) -> Tensor:
        """Return `features`, (N, C, H, W), with the closed channels at zero."""
        # alpha - alpha.detach() is exactly 0: it adds nothing but the straight-through gradient.
        mask = self.open().to(self.alpha.dtype) + (self.alpha - self.alpha.detach())
        return features * mask.to(features.dtype).view(1, -1, 1, 1)

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"{self.alpha.numel()}, tau={self.tau}"


def gates(network: nn.Module) -> dict[str, ChannelGate]:
    """Return the gates of a discriminator by module path."""
    return {path: module for path, module in network.named_modules() if isinstance(module, ChannelGate)}

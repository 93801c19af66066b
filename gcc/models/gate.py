"""Selective activation: channels of the student's discriminator can be switched off and on again (Li et al. 2021, Eq. 3 and 4)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn


class _Switch(torch.autograd.Function):
    """Multiplies channels by a mask, with a straight-through gradient for the retention factors."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, alpha: Tensor, tau: float) -> Tensor:
        mask = (alpha >= tau).to(features.dtype).view(1, -1, 1, 1)
        ctx.save_for_backward(features, mask)
        return features * mask

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        features, mask = ctx.saved_tensors
        to_features = gradient * mask if ctx.needs_input_grad[0] else None
        # The sum has thousands of terms that cancel, so it is computed in float32 at least.
        wide = torch.promote_types(features.dtype, torch.float32)
        to_alpha = (gradient.to(wide) * features.to(wide)).sum((0, 2, 3)) if ctx.needs_input_grad[1] else None
        return to_features, to_alpha, None


class ChannelGate(nn.Module):
    r"""Keeps channel i if its retention factor reaches the threshold.

    `s(alpha_i) = 1 if alpha_i >= tau else 0` and `O_i <- s(alpha_i) O_i` (Eq. 3). The gradient passes straight through (Eq. 4):
    `dL/dalpha_i = sum over n, h, w of dL/dO^_i O_i`, with `O^` the gated output. A closed channel still gets a gradient and can open again.

    Args:
        channels: C, the number of retention factors; each starts at 1.
        tau: the threshold; a channel with `alpha = tau` is on.
    """

    def __init__(self, channels: int, tau: float) -> None:
        super().__init__()
        self.tau = tau
        self.alpha = nn.Parameter(torch.ones(channels))

    def open(self) -> Tensor:
        """Return a boolean for each channel, (C,): whether it is on."""
        return self.alpha.detach() >= self.tau

    def forward(self, features: Tensor) -> Tensor:
        """Return `features`, (N, C, H, W), with zeros in the closed channels."""
        gated: Tensor = _Switch.apply(features, self.alpha, self.tau)
        return gated

    def extra_repr(self) -> str:
        """Show the number of channels and the threshold."""
        return f"{self.alpha.numel()}, tau={self.tau}"


def load_ungated(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the `state_dict` of a discriminator without gates into one with gates, which keep their retention factors."""
    network.load_state_dict({**state, **{f"{path}.alpha": gate.alpha.detach() for path, gate in gates(network).items()}})


def gates(network: nn.Module) -> dict[str, ChannelGate]:
    """Return the gates of a discriminator by module path."""
    return {path: module for path, module in network.named_modules() if isinstance(module, ChannelGate)}

r"""GAN losses: Eq. 1, `L_G = E_z[f_G(-D(G(z)))]`, and Eq. 2, `L_D = E_x[f_D(-D(x))] + E_z[f_D(D(G(z)))]`.

Each loss consists of three functions of logits, since the least-squares loss, with its targets 1 and 0, has no single f_D. All of them
return the mean over all logits in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, softplus


@dataclass(frozen=True)
class GanLoss:
    """One GAN loss.

    Attributes:
        generator: `f_G(-D(G(z)))` of the logits of generated images (Eq. 1).
        real: `f_D(-D(x))` of the logits of real images (Eq. 2, L_Dreal).
        fake: `f_D(D(G(z)))` of the logits of generated images (Eq. 2, L_Dfake).
        penalised: whether L_D also has the gradient penalty of Gulrajani et al. 2017.
    """

    generator: Callable[[Tensor], Tensor]
    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    penalised: bool = False


def _mean(f: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda logits: f(logits.float()).mean()


GAN_LOSSES = {
    # f_D(u) = relu(1 + u), f_G(u) = u
    "hinge": GanLoss(_mean(torch.neg), _mean(lambda d: relu(1 - d)), _mean(lambda d: relu(1 + d))),
    # squared distance to 1 and 0
    "lsgan": GanLoss(_mean(lambda d: (d - 1) ** 2), _mean(lambda d: (d - 1) ** 2), _mean(torch.square)),
    # f_D(u) = f_G(u) = log(1 + e^u): binary cross-entropy of the logits
    "vanilla": GanLoss(_mean(lambda d: softplus(-d)), _mean(lambda d: softplus(-d)), _mean(softplus)),
    # f_D(u) = f_G(u) = u
    "wgangp": GanLoss(_mean(torch.neg), _mean(torch.neg), _mean(lambda d: d), penalised=True),
}
"""The GAN losses by `Recipe.gan_mode`."""


def gradient_penalty(discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Return `E[(||grad_x D(x)||_2 - 1)^2]` at points x between `real` and `fake`, (N, C, H, W) each (Gulrajani et al. 2017, Eq. 3)."""
    share = torch.rand(real.shape[0], 1, 1, 1, device=real.device)
    with torch.autocast(real.device.type, enabled=False):
        between = torch.lerp(fake.detach().float(), real.float(), share).requires_grad_(True)
        (slope,) = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)
    lengths: Tensor = torch.linalg.vector_norm(slope.flatten(1), dim=1)
    return (lengths - 1).square().mean()


def total(losses: Iterable[Tensor]) -> Tensor:
    """Return the sum of scalar losses."""
    return torch.stack(list(losses)).sum()

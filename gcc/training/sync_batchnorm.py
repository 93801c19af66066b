"""Batch norm over the samples of all processes of a run."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcc.errors import GccError
from gcc.utils.distributed import Ranks


class _Sum(torch.autograd.Function):
    """The sum over all processes, whose gradient is summed likewise: of losses that are averaged afterwards, it is that of their mean."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        whole = values.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # As an operation with a gradient of its own, which a gradient penalty asks for.
        whole: Tensor = _Sum.apply(gradient.contiguous())
        return whole


class JointBatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose statistics are those of the joined batch: of all processes, which have as many samples each.

    Torch's own synchronised batch norm is for GPUs alone, and is no `BatchNorm2d`.

    Args:
        norm: whose parameters and buffers it takes over.
        ranks: the processes.
    """

    def __init__(self, norm: nn.BatchNorm2d, ranks: Ranks) -> None:
        super().__init__(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats, device="meta")
        self._parameters, self._buffers = norm._parameters, norm._buffers
        self.ranks = ranks
        self.train(norm.training)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        if not self.training or features.is_meta:
            return super().forward(features)
        wide = features.to(torch.promote_types(features.dtype, torch.float32))
        variances, means = torch.var_mean(wide, (0, 2, 3), correction=0)
        # Each process fills in its row, so that one sum tells every process all of them.
        own = torch.zeros(self.ranks.world, 1, 1, dtype=wide.dtype, device=wide.device)
        own[self.ranks.rank] = 1
        rows: Tensor = _Sum.apply(own * torch.stack([means, variances]))
        means, variances = rows.unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._remember(mean.detach(), variance.detach(), self.ranks.world * features.numel() // features.shape[1])
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = self.weight * scale, self.weight * shift + self.bias
        return (wide * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).to(features.dtype)

    def _remember(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if not self.track_running_stats:
            return
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(1, count - 1), share)


def synchronised(network: nn.Module, ranks: Ranks) -> nn.Module:
    """Return a network whose batch norms are those of the joined batch; parameters and buffers stay the same.

    Raises:
        GccError: it has batch norms of other than images.
    """
    if isinstance(network, nn.BatchNorm2d):
        return JointBatchNorm2d(network, ranks)
    if isinstance(network, _BatchNorm):
        raise GccError(f"{type(network).__name__} cannot be shared by several processes: expected BatchNorm2d, or train in one process")
    for name, child in network.named_children():
        setattr(network, name, synchronised(child, ranks))
    return network

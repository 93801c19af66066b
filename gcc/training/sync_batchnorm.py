"""Batch norm over the samples of all ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gcc.errors import GccError
from gcc.utils.distributed import Ranks


class _Sum(torch.autograd.Function):
    """The sum over all ranks. Its gradient is summed too, which gives the gradient of the ranks' mean loss once gradients are averaged."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        summed = values.clone()
        distributed.all_reduce(summed)
        return summed

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        # The backward pass is differentiable itself, as a gradient penalty needs.
        summed: Tensor = _Sum.apply(gradient.contiguous())
        return summed


class JointBatchNorm2d(nn.BatchNorm2d):
    """Batch norm with the statistics of the joint batch of all ranks, each with the same number of samples.

    Torch's own synchronised batch norm needs GPUs, and is not a `BatchNorm2d`.

    Args:
        norm: the batch norm to replace. Its parameters and buffers are shared.
        ranks: the ranks.
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
        # Each rank fills in one row, so that one sum gives every rank all rows.
        own = torch.zeros(self.ranks.world, 1, 1, dtype=wide.dtype, device=wide.device)
        own[self.ranks.rank] = 1
        rows: Tensor = _Sum.apply(own * torch.stack([means, variances]))
        means, variances = rows.unbind(1)
        mean = means.mean(0)
        variance = (variances + (means - mean).square()).mean(0)
        self._update_running_statistics(mean.detach(), variance.detach(), self.ranks.world * features.numel() // features.shape[1])
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = self.weight * scale, self.weight * shift + self.bias
        return (wide * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1)).to(features.dtype)

    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: int) -> None:
        if not self.track_running_stats:
            return
        assert self.num_batches_tracked is not None and self.running_mean is not None and self.running_var is not None
        self.num_batches_tracked += 1
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(1, count - 1), share)


def synchronised(network: nn.Module, ranks: Ranks) -> nn.Module:
    """Return the network with batch norms over the joint batch of all ranks; parameters and buffers stay the same.

    Raises:
        GccError: a batch norm is not for images.
    """
    if type(network) is nn.BatchNorm2d:
        joint = JointBatchNorm2d(network, ranks)
        # A gate may be a child of the norm, called by a hook.
        joint._modules, joint._forward_hooks = network._modules, network._forward_hooks
        return joint
    if isinstance(network, _BatchNorm):
        raise GccError(f"{type(network).__name__} cannot be shared by several processes: expected BatchNorm2d, or train in one process")
    for name, child in network.named_children():
        setattr(network, name, synchronised(child, ranks))
    return network

"""Layers as others that compute the same, for programs that lack the former or run them slowly."""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from typing import TypeGuard, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

Kind = TypeVar("Kind", bound=nn.Module)
Rewrite = Callable[[nn.Module], nn.Module | None]
"""Returns the layer to run in place of another; None keeps that."""


def rewritten(network: nn.Module, *rewrites: Rewrite) -> nn.Module:
    """Return a copy whose layers are replaced by the first rewrite that takes them; a layer that several paths share stays shared."""
    copy = nn.Sequential(deepcopy(network))
    replaced: dict[nn.Module, nn.Module | None] = {}
    for path, module in list(copy.named_modules(remove_duplicate=False)):
        if module not in replaced:
            replaced[module] = next((layer for rewrite in rewrites if (layer := rewrite(module))), None)
        layer = replaced[module]
        if layer is not None:
            copy.set_submodule(path, layer)
    return copy


def transposed_as_plain(module: nn.Module) -> nn.Module | None:
    """Rewrite transposed convolutions with a stride."""
    if _computes(module, nn.ConvTranspose2d) and module.stride != (1, 1) and module.groups == 1 and module.dilation == (1, 1):
        return InterleavedTranspose2d(module)
    return None


def instance_norm_as_means(module: nn.Module) -> nn.Module | None:
    """Rewrite instance norms that keep no running statistics."""
    if _computes(module, nn.InstanceNorm2d) and module.running_mean is None:
        return MeansInstanceNorm2d(module)
    return None


def prelu_as_leaky(module: nn.Module) -> nn.Module | None:
    """Rewrite PReLUs with one slope for all channels as leaky ReLUs."""
    return nn.LeakyReLU(float(module.weight.detach())) if _computes(module, nn.PReLU) and module.num_parameters == 1 else None


def _computes(module: nn.Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Return whether a module computes what a class of torch does and no more."""
    hooks = module._forward_hooks or module._forward_pre_hooks
    return isinstance(module, kind) and type(module).forward is kind.forward and not hooks


class InterleavedTranspose2d(nn.Module):
    """A transposed convolution with stride s as a plain one that returns s x s output pixels per position, which are then interleaved.

    Output pixel `s i + a` of a canvas without padding is the sum over taps u of `x[i - u] w[a + s u]`. The layer's padding is cut off.
    No tensor has more than four dimensions, and channels are the last one from the convolution to the result.

    Args:
        layer: without groups and dilation.
    """

    def __init__(self, layer: nn.ConvTranspose2d) -> None:
        super().__init__()
        assert not isinstance(layer.padding, str)
        self.strides, self.padding = layer.stride, layer.padding
        # The size of the output, less the stride times that of the input.
        self.surplus = [
            kernel - stride - 2 * padding + extra
            for kernel, stride, padding, extra in zip(layer.kernel_size, layer.stride, layer.padding, layer.output_padding, strict=True)
        ]
        # As many taps as the kernel has, and as rows and columns added at the end read.
        taps = [
            -(-max(kernel, kernel + extra - padding) // stride)
            for kernel, stride, padding, extra in zip(layer.kernel_size, layer.stride, layer.padding, layer.output_padding, strict=True)
        ]
        (rows, columns), (down, right), (height, width) = taps, layer.stride, layer.kernel_size
        kernel = pad(layer.weight.detach(), (0, columns * right - width, 0, rows * down - height))
        # (in, out, row tap, row, column tap, column) to (row, column, out, in, row tap, column tap), the last pixel first.
        kernel = kernel.reshape(*kernel.shape[:2], rows, down, columns, right).flip(2, 4).permute(3, 5, 1, 0, 2, 4)
        self.convolution = nn.Conv2d(
            layer.in_channels,
            down * right * layer.out_channels,
            (rows, columns),
            padding=(rows - 1, columns - 1),
            bias=layer.bias is not None,
        )
        self.convolution.weight = nn.Parameter(kernel.flatten(0, 2).contiguous(), requires_grad=False)
        if layer.bias is not None:
            self.convolution.bias = nn.Parameter(layer.bias.detach().repeat(down * right), requires_grad=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) as the layer did."""
        phases = self.convolution(features).permute(0, 2, 3, 1)
        n, height, width, _ = phases.shape
        down, right = self.strides
        # Side by side, then one below the other: all pixels of each row of the canvas.
        lines = [line.reshape(n, height, width * right, -1) for line in phases.chunk(down, -1)]
        canvas = torch.cat(lines, 2).reshape(n, height * down, width * right, -1)
        (top, left), (more_rows, more_columns) = self.padding, self.surplus
        rows, columns = features.shape[2] * down + more_rows, features.shape[3] * right + more_columns
        return canvas[:, top : top + rows, left : left + columns].permute(0, 3, 1, 2)


class MeansInstanceNorm2d(nn.Module):
    """An instance norm as means over height and width, which programs compute in any layout.

    Each channel is first divided by its largest value. The squares of larger values than 255 would exceed float16, in which GPUs compute.

    Args:
        layer: has no running statistics.
    """

    def __init__(self, layer: nn.InstanceNorm2d) -> None:
        super().__init__()
        self.root_eps, self.weight, self.bias = math.sqrt(layer.eps), layer.weight, layer.bias

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to the same shape."""
        centred = features - features.mean((2, 3), keepdim=True)
        # No less than the root of epsilon, so that channels of one value are not divided by zero.
        largest = centred.abs().amax((2, 3), keepdim=True).clamp(min=self.root_eps)
        scaled = centred / largest
        normed = scaled * torch.rsqrt(scaled.square().mean((2, 3), keepdim=True) + (self.root_eps / largest).square())
        return normed if self.weight is None else normed * self.weight[:, None, None] + self.bias[:, None, None]

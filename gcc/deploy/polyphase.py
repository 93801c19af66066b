"""Transposed convolutions in another form, which many a CPU runs faster where few pixels are read or few channels made (docs/speed.md)."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, unfold

TAPS = ((3, 1), (2, 0))
"""Of a kernel of 4, what an even and what an odd pixel reads: `y[2m] = x[m-1] w[3] + x[m] w[1]`, `y[2m+1] = x[m] w[2] + x[m+1] w[0]`."""
FEW_PIXELS = 64


def is_upsampling_x2(module: nn.Module) -> TypeGuard[nn.ConvTranspose2d]:
    """Return whether a module is a transposed convolution that doubles the size as U-Nets and DCGANs do: kernel 4, stride 2, padding 1."""
    return isinstance(module, nn.ConvTranspose2d) and (
        module.kernel_size,
        module.stride,
        module.padding,
        module.output_padding,
        module.dilation,
        module.groups,
    ) == ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1), 1)


class PhasedTranspose2d(nn.Module):
    """A transposed convolution that doubles the size, as one with a kernel of 2 that makes the four pixels in the place of each.

    Args:
        transposed: one for which `is_upsampling_x2` holds; its weight is copied, its bias taken over.
    """

    def __init__(self, transposed: nn.ConvTranspose2d) -> None:
        super().__init__()
        taps = torch.tensor(TAPS)
        # (in, out, 4, 4) to (in, out, row phase, row tap, column phase, column tap).
        kernel = transposed.weight.detach()[:, :, taps][..., taps]
        self.weight = nn.Parameter(kernel.permute(2, 4, 1, 0, 3, 5).flatten(0, 2).flatten(1), requires_grad=False)
        self.bias = transposed.bias

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', 2 H, 2 W)."""
        n, channels, height, width = features.shape
        if height * width <= FEW_PIXELS:
            # Of a large kernel that is used a few times, a product of matrices makes more than a convolution.
            made = self.weight @ unfold(features, 2, padding=1)
        else:
            made = conv2d(features, self.weight.view(-1, channels, 2, 2), padding=1)
        made = made.reshape(n, 2, 2, -1, height + 1, width + 1)
        # An odd pixel's taps begin one further on.
        rows = [torch.stack([made[:, y, x, :, y : y + height, x : x + width] for x in (0, 1)], -1) for y in (0, 1)]
        image = torch.stack(rows, 3).flatten(4).flatten(2, 3)
        return image if self.bias is None else image + self.bias[:, None, None]

"""Transposed convolutions as plain ones: faster on many CPUs for few input pixels or few output channels (docs/speed.md)."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, unfold

TAPS = ((3, 1), (2, 0))
"""Taps of a kernel of 4 that even and odd output pixels read: `y[2m] = x[m-1] w[3] + x[m] w[1]`, `y[2m+1] = x[m] w[2] + x[m+1] w[0]`."""
FEW_PIXELS = 64


def is_upsampling_x2(module: nn.Module) -> TypeGuard[nn.ConvTranspose2d]:
    """Return whether a module is a transposed convolution that doubles the size as in U-Nets and DCGANs: kernel 4, stride 2, padding 1."""
    return isinstance(module, nn.ConvTranspose2d) and (
        module.kernel_size,
        module.stride,
        module.padding,
        module.output_padding,
        module.dilation,
        module.groups,
    ) == ((4, 4), (2, 2), (1, 1), (0, 0), (1, 1), 1)


class PhasedTranspose2d(nn.Module):
    """A transposed convolution that doubles the size, computed as a convolution with kernel 2 and four output pixels per input pixel.

    Args:
        transposed: a layer for which `is_upsampling_x2` holds; its weight is copied, its bias is shared.
    """

    def __init__(self, transposed: nn.ConvTranspose2d) -> None:
        super().__init__()
        taps = torch.tensor(TAPS)
        # (in, out, 4, 4) to (in, out, row phase, row tap, column phase, column tap).
        kernel = transposed.weight.detach()[:, :, taps][..., taps]
        self.weight = nn.Parameter(kernel.permute(2, 4, 1, 0, 3, 5).flatten(0, 2).flatten(1), requires_grad=False)
        self.bias = transposed.bias

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C', 2 H, 2 W), or (C, H, W) to (C', 2 H, 2 W)."""
        if features.ndim == 3:
            image: Tensor = self(features[None])
            return image[0]
        n, channels, height, width = features.shape
        if height * width <= FEW_PIXELS:
            # For a large kernel at few positions, a matrix product is faster than a convolution.
            phases = self.weight @ unfold(features, 2, padding=1)
        else:
            phases = conv2d(features, self.weight.view(-1, channels, 2, 2), padding=1)
        phases = phases.reshape(n, 2, 2, len(self.weight) // 4, height + 1, width + 1)
        # The taps of an odd pixel start one pixel later.
        rows = [torch.stack([phases[:, y, x, :, y : y + height, x : x + width] for x in (0, 1)], -1) for y in (0, 1)]
        image = torch.stack(rows, 3).flatten(4).flatten(2, 3)
        return image if self.bias is None else image + self.bias[:, None, None]

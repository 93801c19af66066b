"""The size of the images that ImageNet's classifiers are trained on."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import interpolate

SIZE = 224
RESIZED = f"resized to {SIZE} (bicubic, antialiased)"


def resized(images: Tensor) -> Tensor:
    """Return images (N, C, H, W) with values from 0 to 255 at this size, in floating point."""
    return interpolate(images.float(), (SIZE, SIZE), mode="bicubic", antialias=True).clamp(0, 255)

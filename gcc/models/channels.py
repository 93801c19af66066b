"""Images that are not RGB: how they are shown, and how networks that expect RGB read them."""

from __future__ import annotations

import torch
from torch import Tensor

from gcc.recipe import RGB


def as_rgb(images: Tensor) -> Tensor:
    """Return images (..., C, H, W) in [-1, 1] with three channels; RGB images are returned as they are.

    One channel is repeated, two get a third one that is black, and of more than three, the first three are taken.
    """
    channels = images.shape[-3]
    if channels == 1:
        return images.expand(*images.shape[:-3], RGB, *images.shape[-2:])
    if channels < RGB:
        return torch.cat([images, torch.full_like(images[..., :1, :, :], -1)], -3)
    return images[..., :RGB, :, :] if channels > RGB else images

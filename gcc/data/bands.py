"""Images with any number of channels, as one image for each channel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor


class Bands:
    """An image of any number of channels, with the methods of Pillow's images that datasets call.

    Channels do not affect each other: Pillow would resize RGBA with alpha as transparency.

    Args:
        bands: an image for each channel, all of one size: 8-bit grey (mode L), or floating-point numbers from 0 to 255 (mode F).
    """

    def __init__(self, bands: Sequence[Image.Image]) -> None:
        self.bands = tuple(bands)

    @property
    def size(self) -> tuple[int, int]:
        """The width and the height."""
        return self.bands[0].size

    @property
    def width(self) -> int:
        """The width."""
        return self.size[0]

    @property
    def height(self) -> int:
        """The height."""
        return self.size[1]

    def resize(self, size: tuple[int, int], resample: Image.Resampling) -> Bands:
        """Return the image in this width and height."""
        return self._each(lambda band: band.resize(size, resample))

    def crop(self, box: tuple[int, int, int, int]) -> Bands:
        """Return the part from left and top to right and bottom; black beyond the image."""
        return self._each(lambda band: band.crop(box))

    def transpose(self, method: Image.Transpose) -> Bands:
        """Return the image mirrored or turned."""
        return self._each(lambda band: band.transpose(method))

    def to_tensor(self) -> Tensor:
        """Return the image as a float32 tensor, (C, H, W) in [-1, 1]."""
        values = np.stack([np.asarray(band, dtype=np.float32) for band in self.bands])
        return torch.from_numpy(values).div_(127.5).sub_(1.0).clamp_(-1.0, 1.0)

    def _each(self, change: Callable[[Image.Image], Image.Image]) -> Bands:
        return Bands([change(band) for band in self.bands])


Picture = Image.Image | Bands
"""An 8-bit RGB image, or an image with any number of channels."""
P = TypeVar("P", Image.Image, Bands, Picture)

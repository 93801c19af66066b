"""Flat colours under JPEG noise: finds those of images, and how much of the images they explain."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

WINDOW = 3
FLAT_RANGE = 12
"""A pixel is in a flat area if no channel varies by more over the 3x3 pixels around it. At edges, JPEG blends colours."""
FLAT_AREA = 0.25
"""Images in flat colours have at least this share of their pixels in flat areas."""
NOISE = 16
"""A colour explains pixels up to this distance from it."""
APART = 2 * NOISE
"""Pixels up to this distance from a colour belong to no other one."""
RARE = 1e-3
"""A colour with a smaller share of the pixels in flat areas does not belong to the palette."""
STEP = 8
"""Width of a histogram's bins, in levels."""
BINS = 256 // STEP


@dataclass(frozen=True)
class FlatColours:
    """A coarse histogram of the pixels in flat areas.

    Attributes:
        means: mean colours of the bins that are not empty, (M, 3) float64.
        counts: their numbers of pixels, (M,) float64.
        area: the share of all pixels that are in flat areas.
    """

    means: Tensor
    counts: Tensor
    area: float

    @classmethod
    def of(cls, images: Tensor) -> FlatColours:
        """Return the histogram of images (N, 3, H, W) uint8."""
        counts = torch.zeros(BINS**3, dtype=torch.float64)
        sums = torch.zeros(3, BINS**3, dtype=torch.float64)
        for image in images.cpu():
            pixels = _flat_pixels(image)
            red, green, blue = pixels // STEP
            codes = (red * BINS + green) * BINS + blue
            counts += codes.bincount(minlength=BINS**3)
            sums += torch.stack([codes.bincount(channel.double(), BINS**3) for channel in pixels])
        used = counts > 0
        return cls((sums[:, used] / counts[used]).T, counts[used], float(counts.sum() / (len(images) * images[0, 0].numel())))

    def palette(self) -> Tensor:
        """Return the colours, (K, 3) uint8: the most frequent one, then the most frequent one of what is not near it, and so on."""
        colours = []
        left = self.counts.clone()
        while left.any():
            distance = (self.means - self.means[left.argmax()]).norm(dim=1)
            own = left * (distance <= APART)
            if own.sum() >= RARE * self.counts.sum():
                core = left * (distance <= NOISE)
                colours.append(core @ self.means / core.sum())
            left -= own
        return torch.stack(colours).round().to(torch.uint8) if colours else torch.zeros(0, 3, dtype=torch.uint8)

    def covered(self, palette: Tensor) -> float:
        """Return the share of the pixels in flat areas that a palette (K, 3) explains; 0 if there are too few such pixels."""
        if self.area < FLAT_AREA or not len(palette):
            return 0.0
        explained = torch.cdist(self.means, palette.double()).amin(1) <= NOISE
        return float(self.counts[explained].sum() / self.counts.sum())


def _flat_pixels(image: Tensor) -> Tensor:
    """Return the pixels of an image (3, H, W) uint8 that are in flat areas, (3, P) int64."""
    if min(image.shape[-2:]) < WINDOW:
        return torch.zeros(3, 0, dtype=torch.int64)
    levels = image.float()
    largest, negative_smallest = (max_pool2d(values, WINDOW, 1) for values in (levels, -levels))
    flat = (largest + negative_smallest).amax(0) <= FLAT_RANGE
    margin = WINDOW // 2
    return image[:, margin:-margin, margin:-margin][:, flat].long()

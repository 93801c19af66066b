"""Label maps in flat colours: which of two images they are, their palette, and the labels of their pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gcc.data.images import to_bytes
from gcc.errors import DataError
from gcc.registry.dataset import DatasetSource

COLOURS = 64
"""Colours of a palette at most."""
RARE = 1e-4
"""Share of all pixels below which a colour is taken for an accident."""
FLAT = 0.99
"""Share of all pixels that a palette must cover."""


@dataclass(frozen=True)
class LabelledPairs:
    """Photographs and the labels of their pixels.

    Attributes:
        key: key of the label maps in a batch.
        palette: the labels' colours, (K, 3) uint8.
        labels: (N, H, W) int64, from 0 to K - 1.
        photos: (N, 3, H, W) uint8.
    """

    key: str
    palette: Tensor
    labels: Tensor
    photos: Tensor


def labelled_pairs(source: DatasetSource, most: int) -> LabelledPairs:
    """Read up to `most` pairs, evenly spread over the source, one of whose images is a label map.

    Raises:
        DataError: the samples are no pairs of images, or neither image has flat colours; the message says what was found.
    """
    count = min(most, len(source))
    samples = [source.sample(number * len(source) // count, None) for number in range(count)]
    keys = [key for key, image in samples[0].items() if image.ndim == 3 and len(image) == 3]
    if len(keys) != 2:
        raise DataError(f"a judge learns from pairs of images: this data has {', '.join(keys) or 'none'}")
    images = {key: torch.stack([to_bytes(sample[key]) for sample in samples]) for key in keys}
    found = []
    for key, other in (keys, keys[::-1]):
        palette, covered = palette_of(images[key])
        if len(palette) <= COLOURS and covered > FLAT:
            return LabelledPairs(key, palette, nearest(images[key], palette), images[other])
        found.append(f"in {key} {len(palette)} colours that each have {RARE:.2%} of the pixels cover {covered:.1%}")
    raise DataError(
        f"a judge learns from label maps in flat colours: expected at most {COLOURS} that cover more than {FLAT:.0%} of the pixels,"
        f" and {'; '.join(found)}; save label maps without loss, and choose a --size at which they keep their colours"
    )


def palette_of(maps: Tensor) -> tuple[Tensor, float]:
    """Return the colours of images (N, 3, H, W) uint8 that are not rare, commonest first, (K, 3), and the share of pixels they cover."""
    red, green, blue = maps.int().unbind(1)
    codes, counts = torch.unique(red << 16 | green << 8 | blue, return_counts=True)
    shares = counts.double() / counts.sum()
    order = shares.argsort(descending=True, stable=True)
    chosen = order[shares[order] >= RARE]
    palette = torch.stack([codes[chosen] >> 16, codes[chosen] >> 8 & 255, codes[chosen] & 255], 1).to(torch.uint8)
    return palette, float(shares[chosen].sum())


def nearest(maps: Tensor, palette: Tensor) -> Tensor:
    """Return for every pixel of images (N, 3, H, W) uint8 the number of the nearest colour of `palette` (K, 3), (N, H, W) int64."""
    colours = palette.int()[:, :, None, None]
    return torch.stack([(image.int() - colours).square().sum(1).argmin(0) for image in maps])

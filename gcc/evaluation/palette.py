"""Label maps in flat colours: finds which image of a pair is the label map, its palette, and the label of every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from gcc.data.images import to_bytes
from gcc.errors import DataError
from gcc.evaluation.flat_colours import NOISE, FlatColours
from gcc.models.channels import as_rgb
from gcc.recipe import RGB
from gcc.registry.dataset import DatasetSource

COLOURS = 64
"""Maximum number of colours in a palette."""
LEAST_COLOURS = 2
"""Minimum number of colours under noise: the background of photographs can be one flat colour."""
RARE = 1e-4
"""A colour with a smaller share of all pixels does not belong to the palette."""
FLAT = 0.99
"""A palette must cover a larger share of all pixels."""


@dataclass(frozen=True)
class LabelledPairs:
    """Photographs and the labels of their pixels.

    Attributes:
        key: key of the label maps in a batch.
        palette: the labels' colours, (K, 3) uint8.
        labels: (N, H, W) int64, from 0 to K - 1.
        photos: (N, 3, H, W) uint8; grey ones have three equal channels.
    """

    key: str
    palette: Tensor
    labels: Tensor
    photos: Tensor


def labelled_pairs(source: DatasetSource, most: int) -> LabelledPairs:
    """Read up to `most` pairs of a photograph and a label map, evenly spaced over the source.

    Raises:
        DataError: the samples are not pairs of images, or neither image has flat colours; the message describes the data.
    """
    count = min(most, len(source))
    samples = [source.sample(number * len(source) // count, None) for number in range(count)]
    keys = [key for key, image in samples[0].items() if image.ndim == 3 and len(image) in (1, RGB)]
    if len(keys) != 2:
        raise DataError(f"miou_small trains on pairs of images: this data has {', '.join(keys) or 'none'}")
    images = {key: torch.stack([to_bytes(as_rgb(sample[key])) for sample in samples]) for key in keys}
    key, palette = _label_maps(images)
    (other,) = images.keys() - {key}
    return LabelledPairs(key, palette, nearest(images[key], palette), images[other])


def _label_maps(images: Mapping[str, Tensor]) -> tuple[str, Tensor]:
    """Return the key of the images in flat colours, and their palette: exact colours if it has some, else colours with noise."""
    faults = []
    for key, maps in images.items():
        palette, covered = palette_of(maps)
        if _is_palette(palette, covered):
            return key, palette
        faults.append(f"in {key} {len(palette)} colours that each have {RARE:.2%} of the pixels cover {covered:.1%}")
    noisy = {key: FlatColours.of(maps) for key, maps in images.items()}
    palettes = {key: colours.palette() for key, colours in noisy.items()}
    covered_by = {key: noisy[key].covered(palette) for key, palette in palettes.items() if len(palette) >= LEAST_COLOURS}
    best = max(covered_by, key=lambda key: covered_by[key], default="")
    if best and _is_palette(palettes[best], covered_by[best]):
        return best, palettes[best]
    raise DataError(
        f"miou_small trains on label maps in flat colours: expected at most {COLOURS} that cover more than {FLAT:.0%} of the pixels,"
        f" and {'; '.join(faults)}, nor are there such colours under JPEG noise of {NOISE} levels; save label maps without loss, and choose"
        " a `size` at which they keep their colours"
    )


def _is_palette(palette: Tensor, covered: float) -> bool:
    return len(palette) <= COLOURS and covered > FLAT


def palette_of(maps: Tensor) -> tuple[Tensor, float]:
    """Return the colours of images (N, 3, H, W) uint8 that are not rare, most frequent first, (K, 3), and the share of pixels covered."""
    red, green, blue = maps.int().unbind(1)
    codes, counts = torch.unique(red << 16 | green << 8 | blue, return_counts=True)
    shares = counts.double() / counts.sum()
    order = shares.argsort(descending=True, stable=True)
    chosen = order[shares[order] >= RARE]
    palette = torch.stack([codes[chosen] >> 16, codes[chosen] >> 8 & 255, codes[chosen] & 255], 1).to(torch.uint8)
    return palette, float(shares[chosen].sum())


def nearest(maps: Tensor, palette: Tensor) -> Tensor:
    """Return the index of the nearest colour in `palette` (K, 3) for every pixel of images (N, 3, H, W) uint8, (N, H, W) int64."""
    colours = palette.int()[:, :, None, None]
    return torch.stack([(image.int() - colours).square().sum(1).argmin(0) for image in maps])

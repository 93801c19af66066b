"""What reading image files drops or changes: depth, channels, frames, colour space, proportions, size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from gcc.data.colour_profiles import differs_from_srgb
from gcc.data.images import BITS, SAMPLES_PER_PIXEL, bits_of, deep_values, keeps_depth, read_values, read_with, to_rgb, upright_size
from gcc.data.levels import ValueSpan
from gcc.errors import DataError
from gcc.recipe import RGB, Range, text_of_size

LEVELS = 256
"""Grey levels of an 8-bit channel."""
FAR_LESS = 4
"""The part of their type's range that integers do not exceed, as a divisor, from which the user is informed."""


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image file before it is converted.

    Attributes:
        size: width and height, upright.
        levels: the highest 8-bit value plus one, if a channel has more than 8 bits and only 8 are read; else 0.
        values: the span of its values if more than 8 bits are read; else None.
        has_extra_channel: whether it has a band that is not read: an alpha channel that is not opaque, or any other band.
        has_frames: whether it has more than one frame.
        is_grey: whether it has a single colour channel and is read as RGB.
        is_coloured: whether it has colours and is read as grey.
        has_other_colours: whether its colour space is another one, such as CMYK.
        has_profile: whether its colour profile means visibly other colours than sRGB.
    """

    size: tuple[int, int]
    levels: int = 0
    values: ValueSpan | None = None
    has_extra_channel: bool = False
    has_frames: bool = False
    is_grey: bool = False
    is_coloured: bool = False
    has_other_colours: bool = False
    has_profile: bool = False

    @property
    def is_lossy(self) -> bool:
        """Whether reading it drops depth, channels, frames or colours."""
        drops = (self.has_extra_channel, self.has_frames, self.has_other_colours, self.has_profile, self.is_coloured)
        return bool(self.levels) or any(drops)


def inspect_images(images: Iterable[tuple[Path, int]], value_range: Range | None = None) -> list[ImageInfo]:
    """Return what is known of each image that can be read; pixels are decoded only where the header leaves a question open.

    Args:
        images: files, and the number of channels that each is read with.
        value_range: the range that they are read with.
    """
    # Decoders release the GIL.
    with ThreadPoolExecutor() as pool:
        return [info for info in pool.map(lambda image: _inspected(image[0], image[1], value_range), images) if info]


def describe_changes(images: Sequence[ImageInfo]) -> list[str]:
    """Return one text for each way in which reading changes some of the images; an empty list if it changes none."""
    unused = describe_unused_levels(images)
    texts = [
        (lambda image: bool(image.levels), "; ".join(["more than 8 bits per channel, of which the upper 8 are read", *unused])),
        (lambda image: image.has_extra_channel, "a channel beyond red, green and blue (alpha or another band), which is not read"),
        (lambda image: image.has_frames, "more than one frame, of which the first is read"),
        (lambda image: image.has_other_colours, "colours of another space (CMYK or Lab), which become RGB without a colour profile"),
        (lambda image: image.has_profile, "a colour profile other than sRGB (such as Adobe RGB or Display P3), which is not applied"),
        (lambda image: image.is_grey, "one channel, which becomes three equal ones"),
        (lambda image: image.is_coloured, "colours, of which the luma is read"),
    ]
    return [f"{who} {text}" for applies, text in texts if (who := _count(images, applies, "has", "have"))]


def describe_range(images: Sequence[ImageInfo], value_range: Range | None) -> list[str]:
    """Return a text about the values that mean black and white in images with more than 8 bits; an empty list if there are none."""
    spans = [image.values for image in images if image.values]
    ranges = [value_range] if value_range else sorted({span.whole for span in spans})
    texts = " or ".join(f"{low:.6g} to {high:.6g}" for low, high in ranges)
    who = _count(images, lambda image: image.values is not None, "has", "have")
    return [f"{who} more than 8 bits per channel, of which the values {texts} are black to white"] if spans else []


def describe_misfits(images: Sequence[ImageInfo], value_range: Range | None) -> list[str]:
    """Return texts about images whose values exceed the range that is given, or use little of that of their type."""
    if value_range:
        who = _count(images, lambda image: image.values is not None and image.values.exceeds(value_range), "has", "have")
        return [f"{who} values outside of the range, which are clipped"] if who else []
    spans = [image.values for image in images if image.values and image.values.kind.kind != "f"]
    highest = max((span.high for span in spans), default=0.0)
    if not 0 < highest < min((span.whole[1] for span in spans), default=0.0) / FAR_LESS:
        return []
    return [f'their integers reach {highest:.0f} at most: give `range="0..{(1 << int(highest).bit_length()) - 1}"` if that is white']


def describe_unused_levels(images: Sequence[ImageInfo]) -> list[str]:
    """Return a text about the few grey levels that are left of images with more than 8 bits of which 8 are read; else an empty list."""
    levels = max((image.levels for image in images), default=0)
    factor = 1 << (8 - (levels - 1).bit_length()) if levels else 1
    if factor == 1:
        return []
    return [f"that leaves {levels} of {LEVELS} grey levels: multiply the pixels by {factor} first, or give their `range`"]


def describe_resizing(images: Sequence[ImageInfo], size: tuple[int, int], part: str = "") -> list[str]:
    """Return texts about the images that lose their proportions or are enlarged if all are resized to a width and a height.

    Args:
        images: their sizes are those of the parts that are resized.
        size: the width and the height.
        part: which part of an image that is, such as "each half of "; empty if images are whole.
    """
    width, height = size
    other = "not square" if width == height else "of other proportions"
    texts = [
        (lambda image: stretches(image.size, size), f"{other} and resized to {width}x{height}, which changes the proportions"),
        (lambda image: enlarges(image.size, size), f"smaller than {width}x{height} and enlarged, which adds no detail"),
    ]
    plural = "is" if part else "are"
    return [f"{part}{who} {text}" for applies, text in texts if (who := _count(images, applies, "is", plural))]


def describe_halves(images: Sequence[ImageInfo], part: str) -> list[str]:
    """Return a text about images that are all square, which pairs side by side seldom are; else an empty list.

    Args:
        images: their sizes are those of the halves.
        part: which part of an image these are; empty if images are whole.
    """
    if not (part and images and all(image.size[1] == 2 * image.size[0] for image in images)):
        return []
    return ["all images are square: expected pairs, A in the left half and B in the right one, which are mostly twice as wide as high"]


def describe_kept_size(images: Sequence[ImageInfo], size: tuple[int, int]) -> list[str]:
    """Return a text about the size that enlarges no image, if a width and a height enlarge all of them; else an empty list."""
    if not images or not all(enlarges(image.size, size) for image in images):
        return []
    sides = [min(lengths) for lengths in zip(size, *(image.size for image in images), strict=True)]
    kept = text_of_size(*([min(sides)] * 2 if size[0] == size[1] else sides))
    return [f"`size={kept}` enlarges none of them"]


def stretches(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Return whether resizing from one width and height to another changes the proportions."""
    return before[0] * after[1] != before[1] * after[0]


def enlarges(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Return whether resizing from one width and height to another enlarges a side."""
    return before[0] < after[0] or before[1] < after[1]


def _count(images: Sequence[ImageInfo], applies: Callable[[ImageInfo], bool], singular: str, plural: str) -> str:
    count = sum(map(applies, images))
    if not count:
        return ""
    verb = singular if count == 1 else plural
    return f"{count} of {len(images)} images {verb}" if len(images) > 1 else f"the image {verb}"


def _inspected(path: Path, channels: int, value_range: Range | None) -> ImageInfo | None:
    try:
        values = read_values(path, channels, value_range)
        if values is not None:
            return ImageInfo(size=(values.shape[2], values.shape[1]), values=ValueSpan.of(values))
        return read_with(path, partial(_inspect, channels=channels, value_range=value_range))
    except DataError:
        return None


def _inspect(image: Image.Image, channels: int, value_range: Range | None) -> ImageInfo:
    is_whole = keeps_depth(image, channels, value_range)
    is_cut = bits_of(image) > BITS and not is_whole  # Before anything decodes the image.
    is_grey = image.mode in ("1", "L", "LA", "La") or image.mode.startswith("I")
    has_other_colours = image.mode in ("CMYK", "LAB")
    profile = image.info.get("icc_profile")
    info = ImageInfo(
        size=upright_size(image),
        has_frames=getattr(image, "n_frames", 1) > 1 and image.format != "MPO",  # A phone's preview is not a frame.
        is_grey=is_grey and channels == RGB,
        is_coloured=not is_grey and channels == 1,
        has_extra_channel=channels in (1, RGB) and _has_extra_channel(image),
        has_other_colours=has_other_colours,
        has_profile=bool(profile) and not has_other_colours and differs_from_srgb(profile, channels=1 if is_grey else 3),
    )
    if is_whole:
        values, bits = deep_values(image)
        values = values[:channels]
        span = ValueSpan(np.dtype(np.uint16), float(values.min()), float(values.max()), (0.0, float((1 << bits) - 1)))
        return replace(info, values=span)
    return replace(info, levels=int(np.asarray(to_rgb(image)).max()) + 1) if is_cut else info


def _has_extra_channel(image: Image.Image) -> bool:
    if image.format == "TIFF" and getattr(image, "tag_v2", {}).get(SAMPLES_PER_PIXEL, 1) > len(image.getbands()):
        return True
    if image.mode.startswith("I") or not (image.mode[-1] in "Aa" or "transparency" in image.info):
        return False
    return bool(np.asarray(image.convert("RGBA"))[..., 3].min() < 255)

"""Runs a saved generator on image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import pad

from gcc.artifacts.config import CONFIG, Artifact, Factory
from gcc.artifacts.model import read, single_generator
from gcc.data.folders import describe_lack, describe_unread
from gcc.data.image_files import refuse_bad, unreadable
from gcc.data.images import ARRAY_SUFFIX, images_below, resized, suffix_for, to_tensor, write_image
from gcc.data.inspection import describe_changes, enlarges, inspect_images, stretches
from gcc.deploy.side_by_side import InputHalves
from gcc.errors import DataError, GccError, first_line, listed
from gcc.models.modules import require_finite
from gcc.recipe import image_size, size_text
from gcc.registry import Architecture
from gcc.utils.device import choose_device
from gcc.utils.files import replacing

TILE = 512
"""Height and width of the tiles that large images are split into."""
OUTPUTS = {1: "8-bit grey", 3: "8-bit RGB", 4: "8-bit RGBA"}
"""What is written, by the number of channels; NumPy files for others."""
MAX_SCALE = 2
"""The ratio of an image's width or height to that of the training images from which the user is informed."""


def ignore(text: str) -> None:
    """Do nothing with a text."""


def translate(
    student: Path,
    source: Path,
    target: Path,
    *,
    size: int | tuple[int, int] | None,
    device: str,
    pairs: bool | None = None,
    factory: Factory | None = None,
    leave_out: Callable[[Sequence[str]], None] = refuse_bad,
    inform: Callable[[str], None] = ignore,
) -> Iterator[Path]:
    """Run a saved generator on an image file, or on every image of a folder; yield each file when it is written.

    Every image is read once before the first one is translated.

    Args:
        student: folder of the saved generator.
        source: an image, or a folder of images, whose subfolders are read too.
        target: the file to write; for a folder of images, the folder for PNG files with the same names, in the same subfolders. Images with
            other than 1, 3 or 4 channels are written as NumPy files, (C, H, W) float32 in [-1, 1].
        size: width and height that images are resized to, or one number for both; None keeps the size of each image, if the architecture
            takes it, or its next multiple, to which images are padded.
        device: where to run.
        pairs: whether images hold A and B side by side, so that one half is the input; None decides for each image, see `InputHalves`.
        factory: makes the full generator, such as its class, if it is a generator of your own; see `gcc.load`.
        leave_out: called with the reasons if images cannot be used; they are left out unless this raises.
        inform: called once for each thing that is not read, dropped, cut off, stretched, enlarged or of another scale than the training
            images, with a text that says so.

    Raises:
        GccError: the generator or an image cannot be read, no image is left, the generator takes noise, or the output cannot be written.
    """
    artifact = single_generator(read(student, factory=factory))
    architecture = artifact.architecture
    if architecture.takes_noise:
        raise GccError(f"{student} is a generator of the family {artifact.arch}, which takes noise, not images: use gcc generate")
    on_device = choose_device(device)
    input_halves = InputHalves(artifact, pairs)
    jobs = _jobs(source, target, suffix_for(artifact.output_channels))
    network = artifact.network().to(on_device)
    jobs = _without_bad(jobs, input_halves, leave_out)
    if changes := describe_changes(inspect_images((path, input_halves.channels) for path in jobs)):
        inform(f"{'; '.join(changes)}; the output is {OUTPUTS.get(artifact.output_channels, 'a NumPy file')}")
    for text in describe_unread([source], _folder_left_out(source, target)):
        inform(text)
    inform_once = _once(inform, "; later images of this kind are not named" if len(jobs) > 1 else "")
    for image_file, output in jobs.items():
        image, is_pair = input_halves.read(image_file)
        if is_pair:
            text = f"the {input_halves.side} half, {input_halves.input}, is translated, the input of direction {input_halves.direction}"
            inform_once("pairs", f"{image_file} holds A and B side by side: {text} (`pairs=False` takes whole images)")
        for kind, text in _notes_on(artifact, image_file, image.size, size):
            inform_once(kind, text)
        width, height = _target_size(architecture, image.size, size)
        tensor = to_tensor(resized(image, width, height))[None].to(on_device)
        with torch.inference_mode():
            fake = padded_run(network, tensor, architecture.size_multiple or 1, architecture.receptive_field_radius)
        with replacing(output) as fresh:
            write_image(fresh, fake[0])
        yield output


def _notes_on(
    artifact: Artifact, image_file: Path, original: tuple[int, int], size: int | tuple[int, int] | None
) -> Iterator[tuple[str, str]]:
    """Yield what the user should know about the size that an image is translated at: the kind and the text of each note.

    Args:
        artifact: the saved generator.
        image_file: the image.
        original: its width and height.
        size: as for `translate`.
    """
    architecture = artifact.architecture
    width, height = _target_size(architecture, original, size)
    reason = "" if size else f"; generators of {artifact.arch} take no other size"
    sizes = f"{image_file} has {original[0]}x{original[1]} pixels and is resized to {width}x{height}"
    if stretches(original, (width, height)):
        yield "stretched", f"{sizes}, which changes its proportions{reason}"
    if enlarges(original, (width, height)):
        yield "enlarged", f"{sizes}, which adds no detail{reason}"
    if not _is_of_scale(architecture, (width, height)):
        trained = size_text(architecture.recipe)
        text = f"{image_file} is translated at {width}x{height} pixels, but the generator was trained at {trained}"
        yield "scale", f"{text}: results at this scale may be worse (`size={trained}` resizes images)"


def _target_size(architecture: Architecture[Any], original: tuple[int, int], size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return the width and height that an image is resized to."""
    if size is not None:
        return size if isinstance(size, tuple) else (size, size)
    if architecture.size_multiple:
        return original
    width, height = original
    height, width = architecture.input_size(height, width)
    return width, height


def _is_of_scale(architecture: Architecture[Any], size: tuple[int, int]) -> bool:
    """Return whether a width and a height are similar to those that the training images were resized to."""
    if architecture.receptive_field_radius is not None:
        # Families that translate in tiles train on crops, whose size says nothing about the scale.
        return True
    ratios = [side / trained for side, trained in zip(size, image_size(architecture.recipe), strict=True)]
    return max(ratios) <= MAX_SCALE and min(ratios) * MAX_SCALE >= 1


def _once(inform: Callable[[str], None], ending: str) -> Callable[[str, str], None]:
    """Return a function that passes on the first text of each kind with an ending."""
    kinds: set[str] = set()

    def inform_once(kind: str, text: str) -> None:
        if kind not in kinds:
            kinds.add(kind)
            inform(text + ending)

    return inform_once


def padded_run(network: nn.Module, image: Tensor, multiple: int, radius: int | None) -> Tensor:
    """Return a network's output for an image (1, C, H, W) that is padded at the right and the bottom to multiples, without the padding.

    The padding mirrors the image if that is large enough, and repeats its edge otherwise.

    Raises:
        GccError: the network cannot run at this size, or its output is not finite.
    """
    height, width = image.shape[2:]
    right, bottom = -width % multiple, -height % multiple
    mode = "reflect" if right < width and bottom < height else "replicate"
    padded = pad(image, (0, right, 0, bottom), mode) if right or bottom else image
    fake = _run(network, padded, radius)
    scale = fake.shape[2] // padded.shape[2]
    return fake[:, :, : scale * height, : scale * width] if right or bottom else fake


def in_tiles(network: nn.Module, image: Tensor, radius: int, tile: int = TILE) -> Tensor:
    """Return a network's output for an image (1, C, H, W), computed tile by tile; tiles overlap in the input, so there are no seams.

    Args:
        network: keeps positions and may enlarge the image.
        image: of any size.
        radius: radius of the receptive field, in input pixels.
        tile: height and width of a tile without the overlap.
    """
    rows = [
        torch.cat([_tile(network, image, radius, top, left, tile) for left in range(0, image.shape[3], tile)], dim=3)
        for top in range(0, image.shape[2], tile)
    ]
    return torch.cat(rows, dim=2)


def _tile(network: nn.Module, image: Tensor, radius: int, top: int, left: int, tile: int) -> Tensor:
    first_row, first_column = max(0, top - radius), max(0, left - radius)
    crop = image[:, :, first_row : top + tile + radius, first_column : left + tile + radius]
    fake: Tensor = network(crop)
    scale = fake.shape[2] // crop.shape[2]
    down, right = scale * (top - first_row), scale * (left - first_column)
    return fake[:, :, down : down + scale * tile, right : right + scale * tile]


def _run(network: nn.Module, image: Tensor, radius: int | None) -> Tensor:
    try:
        fake: Tensor = network(image) if radius is None else in_tiles(network, image, radius)
    except RuntimeError as error:
        size = f"{image.shape[3]}x{image.shape[2]}"
        raise GccError(f"the generator cannot run at {size} pixels ({first_line(error)}): give another `size`") from error
    require_finite(fake)
    return fake


def _without_bad(jobs: Mapping[Path, Path], input_halves: InputHalves, leave_out: Callable[[Sequence[str]], None]) -> dict[Path, Path]:
    """Read every image, and return the jobs without those whose image cannot be used; `leave_out` gets the reasons."""
    bad = unreadable(input_halves.read, [*jobs])
    reasons = [*bad.values()]
    if len(bad) == len(jobs):
        raise DataError(f"no image can be translated: {listed(reasons)}")
    if reasons:
        leave_out(reasons)
    return {image_file: output for image_file, output in jobs.items() if image_file not in bad}


def _folder_left_out(source: Path, target: Path) -> list[Path]:
    """Return the resolved folder of the output, which is not read if it is another one."""
    return [target.resolve()] if target.resolve() != source.resolve() else []


def _jobs(source: Path, target: Path, suffix: str) -> dict[Path, Path]:
    """Return the images to read, each with the file to write; no image is overwritten."""
    if source.is_file():
        jobs = {source: target if target.suffix else target / f"{source.stem}{suffix}"}
    elif source.is_dir():
        if target.is_file():
            raise DataError(f"{target} is a file: expected a folder, since {source} is one")
        if (target / CONFIG).is_file():
            raise DataError(f"{target} contains a saved generator: expected another folder for images")
        images = images_below(source, _folder_left_out(source, target))
        jobs = {image: target / image.relative_to(source).with_suffix(suffix) for image in images}
    else:
        raise DataError(f"there is no image or folder {source}")
    if not jobs:
        raise DataError(f"the folder {source} holds no images: {describe_lack(source)}")
    formats = {ARRAY_SUFFIX} | (Image.registered_extensions().keys() if suffix != ARRAY_SUFFIX else set())
    if source.is_file() and jobs[source].suffix.lower() not in formats:
        raise DataError(f"{target} does not have the suffix of an image format: expected one such as {suffix}")
    sources, writers = {image.resolve() for image in jobs}, dict[Path, Path]()
    for image, output in jobs.items():
        if output.resolve() in sources:
            raise DataError(f"{image} would overwrite the image {output}: choose another OUTPUT")
        if writers.setdefault(output, image) is not image:
            raise DataError(f"{writers[output]} and {image} would both be written to {output}: rename one")
    return jobs

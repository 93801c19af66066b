"""Runs a saved generator on image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn

from gcc.artifacts.model import read, single_generator
from gcc.data.folders import describe_lack
from gcc.data.images import images_below, read_rgb, resized, to_tensor, write_image
from gcc.errors import DataError, GccError
from gcc.models.modules import require_finite
from gcc.utils.device import choose_device
from gcc.utils.files import replacing

TILE = 512
"""Height and width of the tiles that large images are split into."""


def stop(error: DataError) -> None:
    """Raise the error: no image may be left out."""
    raise error


def translate(
    student: Path, source: Path, target: Path, *, size: int | None, device: str, leave_out: Callable[[DataError], None] = stop
) -> Iterator[Path]:
    """Run a saved generator on an image file, or on every image of a folder; yield each file when it is written.

    Args:
        student: folder of the saved generator.
        source: an image, or a folder of images, whose subfolders are read too.
        target: the file to write; for a folder of images, the folder for PNG files with the same names, in the same subfolders.
        size: height and width that images are resized to; None lets the architecture choose, for example the size of the training images.
        device: where to run.
        leave_out: called with the error if an image cannot be read; the image is left out unless this raises.

    Raises:
        GccError: the generator or an image cannot be read, the generator takes noise, or the output cannot be written.
    """
    artifact = single_generator(read(student))
    architecture = artifact.architecture
    if architecture.takes_noise:
        raise GccError(f"{student} is a generator of the family {artifact.arch}, which takes noise, not images: use gcc generate")
    on_device = choose_device(device)
    jobs = _jobs(source, target)
    network = artifact.network().to(on_device)
    for image_file, output in jobs:
        try:
            image = read_rgb(image_file)
        except DataError as error:
            leave_out(error)
            continue
        height, width = architecture.input_size(image.height, image.width) if size is None else (size, size)
        with torch.inference_mode():
            fake = _run(network, to_tensor(resized(image, width, height))[None].to(on_device), architecture.receptive_field_radius)
        with replacing(output) as fresh:
            write_image(fresh, fake[0])
        yield output


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
        raise GccError(f"the generator cannot run at {size} pixels ({str(error).partition(chr(10))[0]}): give another --size") from error
    require_finite(fake)
    return fake


def _jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Return the images to read, each with the file to write; no image is overwritten."""
    if source.is_file():
        jobs = [(source, target if target.suffix else target / f"{source.stem}.png")]
    elif source.is_dir():
        if target.is_file():
            raise DataError(f"{target} is a file: expected a folder, since {source} is one")
        images = images_below(source, leave_out=[target.resolve()] if target.resolve() != source.resolve() else [])
        jobs = [(image, target / image.relative_to(source).with_suffix(".png")) for image in images]
    else:
        raise DataError(f"there is no image or folder {source}")
    if not jobs:
        raise DataError(f"the folder {source} holds no images: {describe_lack(source)}")
    if source.is_file() and jobs[0][1].suffix.lower() not in Image.registered_extensions():
        raise DataError(f"{target} does not have the suffix of an image format: expected one such as .png")
    sources, writers = {image.resolve() for image, _ in jobs}, dict[Path, Path]()
    for image, output in jobs:
        if output.resolve() in sources:
            raise DataError(f"{image} would overwrite the image {output}: choose another OUTPUT")
        if writers.setdefault(output, image) is not image:
            raise DataError(f"{writers[output]} and {image} would both be written to {output}: rename one")
    return jobs

"""Running a saved generator on image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from gcc.artifacts.model import only, read
from gcc.data.images import image_files, read_rgb, resized, to_tensor, write_image
from gcc.errors import DataError, GccError
from gcc.models.modules import require_finite
from gcc.utils.device import choose_device
from gcc.utils.files import replacing

TILE = 512
"""Height and width of the tiles in which large images are translated."""


def stop(error: DataError) -> None:
    """Leave nothing out."""
    raise error


def translate(
    student: Path, source: Path, target: Path, *, size: int | None, device: str, leave_out: Callable[[DataError], None] = stop
) -> Iterator[Path]:
    """Run a saved generator on an image file, or on every image of a folder, and yield the files as they are written.

    Args:
        student: folder of the saved generator.
        source: an image, or a folder of images.
        target: the file to write, or for a folder the folder to write PNG files of the same names to.
        size: height and width that images are resized to; none for what the architecture wants, such as those of the training.
        device: where to run.
        leave_out: called with what is wrong with an image that cannot be read, which is then left out, unless this raises it.

    Raises:
        GccError: the generator or an image cannot be read, the generator takes no image, or the output cannot be written.
    """
    artifact = only(read(student))
    architecture = artifact.architecture
    if architecture.sample_z(np.random.default_rng()) is not None:
        raise GccError(f"{student} is a {artifact.arch} generator, which takes noise and no image: use gcc generate")
    place = choose_device(device)
    jobs = _jobs(source, target)
    network = artifact.network().to(place)
    for image_file, written in jobs:
        try:
            image = read_rgb(image_file)
        except DataError as error:
            leave_out(error)
            continue
        height, width = architecture.input_size(image.height, image.width) if size is None else (size, size)
        with torch.inference_mode():
            made = _run(network, to_tensor(resized(image, width, height))[None].to(place), architecture.receptive_field_radius)
        with replacing(written) as fresh:
            write_image(fresh, made[0])
        yield written


def in_tiles(network: nn.Module, image: Tensor, reach: int, tile: int = TILE) -> Tensor:
    """Return what a network makes of an image (1, C, H, W), tile by tile; each is computed with all that it depends on, so none has a seam.

    Args:
        network: keeps positions and may enlarge; what it makes of a pixel depends on those up to `receptive_field_radius` away.
        image: of any size.
        reach: in pixels.
        tile: height and width of a tile without its surroundings.
    """
    rows = [
        torch.cat([_tile(network, image, reach, top, left, tile) for left in range(0, image.shape[3], tile)], dim=3)
        for top in range(0, image.shape[2], tile)
    ]
    return torch.cat(rows, dim=2)


def _tile(network: nn.Module, image: Tensor, reach: int, top: int, left: int, tile: int) -> Tensor:
    high, wide = max(0, top - reach), max(0, left - reach)
    seen = image[:, :, high : top + tile + reach, wide : left + tile + reach]
    made: Tensor = network(seen)
    scale = made.shape[2] // seen.shape[2]
    down, right = scale * (top - high), scale * (left - wide)
    return made[:, :, down : down + scale * tile, right : right + scale * tile]


def _run(network: nn.Module, image: Tensor, reach: int | None) -> Tensor:
    try:
        made: Tensor = network(image) if reach is None else in_tiles(network, image, reach)
    except RuntimeError as error:
        size = f"{image.shape[3]}x{image.shape[2]}"
        raise GccError(f"the generator cannot run at {size} pixels ({str(error).partition(chr(10))[0]}): give another --size") from error
    require_finite(made)
    return made


def _jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Return the images to read, each with the file to write; none of these is one of the images."""
    if source.is_file():
        jobs = [(source, target if target.suffix else target / f"{source.stem}.png")]
    elif source.is_dir():
        if target.is_file():
            raise DataError(f"{target} is a file: expected a folder, since {source} is one")
        jobs = [(image, target / f"{image.stem}.png") for image in image_files(source)]
    else:
        raise DataError(f"there is no image or folder {source}")
    if not jobs:
        raise DataError(f"the folder {source} holds no images")
    if source.is_file() and jobs[0][1].suffix.lower() not in Image.registered_extensions():
        raise DataError(f"{target} has a suffix that names no image format: expected one such as .png")
    sources, writers = {image.resolve() for image, _ in jobs}, dict[Path, Path]()
    for image, written in jobs:
        if written.resolve() in sources:
            raise DataError(f"{image} would overwrite the image {written}: choose another OUTPUT")
        if writers.setdefault(written, image) is not image:
            raise DataError(f"{writers[written]} and {image} would both be written to {written}: rename one")
    return jobs

"""Running a saved generator on image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from gcc.artifact import only, read
from gcc.data.images import image_files, read_rgb, resized, to_tensor, write_image
from gcc.errors import DataError, GccError
from gcc.files import replacing
from gcc.training.device import choose_device


def translate(student: Path, source: Path, target: Path, *, size: int | None, device: str, skip_bad: bool) -> Iterator[Path]:
    """Run a saved generator on an image file, or on every image of a folder, and yield the files as they are written.

    Args:
        student: folder of the saved generator.
        source: an image, or a folder of images.
        target: the file to write, or for a folder the folder to write PNG files of the same names to.
        size: height and width that images are resized to; none for those of the training.
        device: where to run.
        skip_bad: leave out images that cannot be read.

    Raises:
        GccError: the generator or an image cannot be read, the generator takes no image, or the output cannot be written.
    """
    artifact = only(read(student))
    example = artifact.architecture.example_input()
    if example.ndim != 4 or example.shape[1] != 3:
        raise GccError(f"{student} is a {artifact.arch} generator, which takes no image")
    size = artifact.recipe.size if size is None else size
    place = choose_device(device)
    jobs = _jobs(source, target)
    network = artifact.network().to(place)
    for image_file, written in jobs:
        try:
            image = resized(read_rgb(image_file), size, size)
        except DataError:
            if skip_bad:
                continue
            raise
        with torch.inference_mode():
            made = _run(network, to_tensor(image)[None].to(place), size)
        with replacing(written) as fresh:
            write_image(fresh, made[0])
        yield written


def _run(network: torch.nn.Module, image: torch.Tensor, size: int) -> torch.Tensor:
    try:
        made: torch.Tensor = network(image)
    except RuntimeError as error:
        raise GccError(f"the generator cannot run at --size {size} ({str(error).partition(chr(10))[0]}): leave --size out") from error
    return made


def _jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """Return the images to read, each with the file to write; none of these is one of the images."""
    if source.is_file():
        jobs = [(source, target if target.suffix else target / f"{source.stem}.png")]
    elif source.is_dir():
        jobs = [(image, target / f"{image.stem}.png") for image in image_files(source)]
    else:
        raise DataError(f"there is no image or folder {source}")
    if not jobs:
        raise DataError(f"the folder {source} holds no images")
    sources, writers = {image.resolve() for image, _ in jobs}, dict[Path, Path]()
    for image, written in jobs:
        if written.resolve() in sources:
            raise DataError(f"{image} would overwrite the image {written}: choose another OUTPUT")
        if writers.setdefault(written, image) is not image:
            raise DataError(f"{writers[written]} and {image} would both be written to {written}: rename one")
    return jobs

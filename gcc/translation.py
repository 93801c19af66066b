"""Running a saved generator on image files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch

from gcc.artifact import only, read
from gcc.data.images import image_files, read_rgb, resized, to_image, to_tensor
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
    size = size or artifact.recipe.size
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
            to_image(made[0]).save(fresh)
        yield written


def _run(network: torch.nn.Module, image: torch.Tensor, size: int) -> torch.Tensor:
    try:
        made: torch.Tensor = network(image)
    except RuntimeError as error:
        raise GccError(f"the generator cannot run at --size {size} ({str(error).partition(chr(10))[0]}): leave --size out") from error
    return made


def _jobs(source: Path, target: Path) -> list[tuple[Path, Path]]:
    if source.is_file():
        if not target.suffix:
            target = target / f"{source.stem}.png"
        return [(source, target)]
    if not source.is_dir():
        raise DataError(f"there is no image or folder {source}")
    images = image_files(source)
    if not images:
        raise DataError(f"the folder {source} holds no images")
    stems = [image.stem for image in images]
    twice = [image for image in images if stems.count(image.stem) > 1]
    if twice:
        raise DataError(f"{twice[0]} and {twice[1]} would be written to the same file: rename one")
    return [(image, target / f"{image.stem}.png") for image in images]

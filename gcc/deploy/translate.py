"""Runs a saved generator on image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact, Factory
from gcc.artifacts.model import read, single_generator
from gcc.data.bands import Picture
from gcc.data.folders import describe_unread
from gcc.data.image_files import refuse_bad, unreadable
from gcc.data.images import resized, to_tensor
from gcc.data.inspection import describe_changes, describe_misfits, enlarges, inspect_images, stretches
from gcc.data.writing import write_image
from gcc.deploy.inputs import width_and_height
from gcc.deploy.outputs import Output, images_to_read, kinds_of, outputs_of
from gcc.deploy.side_by_side import InputHalves
from gcc.deploy.tiles import padded_run
from gcc.errors import DataError, GccError, listed
from gcc.models.calls import located_errors
from gcc.recipe import image_size, parse_range, size_text
from gcc.registry import Architecture
from gcc.utils.device import choose_device
from gcc.utils.files import replacing

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
    range: str | Sequence[float] | None = None,
    factory: Factory | None = None,
    leave_out: Callable[[Sequence[str]], None] = refuse_bad,
    inform: Callable[[str], None] = ignore,
) -> Iterator[Path]:
    """Run a saved generator on an image file, or on every image of a folder; yield each file when it is written.

    Every image is read once before the first one is translated.

    Args:
        student: folder of the saved generator.
        source: an image, or a folder of images, whose subfolders are read too.
        target: the file to write; for a folder of images, the folder for files with the same names, in the same subfolders. NumPy and TIFF
            files become files of the same format and type, and others PNG files, with 16 bits if the image is read with them.
            Images with a number of channels that PNG does not hold become NumPy files: float32 for images with 8 bits. NumPy files have
            the shape (C, H, W), or (H, W) if they are grey and the file that was read is (H, W).
        size: width and height that images are resized to, or one number for both; None keeps the size of each image, if the architecture
            takes it, or its next multiple, to which images are padded.
        device: where to run.
        pairs: whether images hold A and B side by side, so that one half is the input; None decides for each image, see `InputHalves`.
        range: the values of black and white in files with more than 8 bits, read and written, such as "0..4095". None means the range
            that the generator was trained with.
        factory: returns the full generator, such as its class, if the generator is your own; see `gcc.load`.
        leave_out: called with the reasons if images cannot be used; they are left out unless this raises.
        inform: called once for each thing that is not read, dropped, cut off, stretched, enlarged or of another scale than the training
            images, with a text that says so.

    Raises:
        GccError: the generator or an image cannot be read, no image is left, the generator takes noise, or the output cannot be written.
    """
    artifact = _reading_images(student, factory)
    on_device = choose_device(device)
    input_halves = InputHalves(artifact, pairs, None if range is None else parse_range(range))
    left_out = _folder_left_out(source, target)
    images = images_to_read(source, target, left_out)
    kinds = kinds_of(images, input_halves.channels, input_halves.value_range)
    outputs = outputs_of(source, target, kinds, artifact.output_channels)
    network = artifact.network().to(on_device)
    outputs = _without_bad(outputs, input_halves, leave_out)
    for text in (*_notes_on_formats(outputs, input_halves), *describe_unread([source], images, left_out)):
        inform(text)
    inform_once = _once(inform, "; later images of this kind are not named" if len(outputs) > 1 else "")
    for image_file, output in outputs.items():
        image, is_half = input_halves.read(image_file)
        half = [_note_on_half(image_file, input_halves)] if is_half else []
        for kind, text in (*half, *_notes_on(artifact, image_file, image.size, size)):
            inform_once(kind, text)
        fake = _translated(artifact.architecture, network, image, size, on_device)
        with replacing(output.path) as fresh:
            write_image(fresh, output.shaped(fake), output.kind, input_halves.value_range)
        yield output.path


def _reading_images(student: Path, factory: Factory | None) -> Artifact:
    """Return the saved generator of a folder.

    Raises:
        GccError: it cannot be read, or takes noise.
    """
    artifact = single_generator(read(student, factory=factory))
    if artifact.architecture.takes_noise:
        raise GccError(f"the generator in {student} ({artifact.arch}) takes noise, not images: use gcc generate")
    return artifact


def _translated(
    architecture: Architecture[Any], network: nn.Module, image: Picture, size: int | tuple[int, int] | None, device: torch.device
) -> Tensor:
    """Return the output of a network (C, H, W) for an image."""
    width, height = _target_size(architecture, image.size, size)
    tensor = to_tensor(resized(image, width, height))[None].to(device)
    expected = f"expected a size that the generator takes: give `size={size_text(architecture.recipe)}`"
    one_size = located_errors(network, expected) if architecture.size_multiple is None else nullcontext()
    with torch.inference_mode(), one_size:
        return padded_run(network, tensor, architecture.size_multiple or 1, architecture.receptive_field_radius)[0]


def _notes_on_formats(outputs: Mapping[Path, Output], input_halves: InputHalves) -> list[str]:
    """Return a text about what reading changes in the images, and what is written instead; an empty list if nothing is lost."""
    channels, value_range = input_halves.channels, input_halves.value_range
    infos = inspect_images(((image_file, channels) for image_file in outputs), value_range)
    changes = [*describe_changes(infos), *(describe_misfits(infos, value_range) if value_range else ())]
    if not changes and not any(output.reason for output in outputs.values()):
        return []
    formats = dict.fromkeys(map(str, outputs.values()))
    return ["; ".join([*changes, f"the output is {' or '.join(formats)}"])]


def _note_on_half(image_file: Path, input_halves: InputHalves) -> tuple[str, str]:
    """Return the kind and the text of the note on which half of an image is translated."""
    half = f"the {input_halves.side} half, {input_halves.input}, is translated, the input of direction {input_halves.direction}"
    return "pairs", f"{image_file} holds A and B side by side: {half} (`pairs=False` takes whole images)"


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
        text = f"{image_file} is translated at {width}x{height} pixels, but the generator's recipe has {trained}"
        yield "scale", f"{text}: results at this scale may be worse (`size={trained}` resizes images)"


def _target_size(architecture: Architecture[Any], original: tuple[int, int], size: int | tuple[int, int] | None) -> tuple[int, int]:
    """Return the width and height that an image is resized to."""
    if size is not None:
        return width_and_height(size)
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


def _without_bad(
    outputs: Mapping[Path, Output], input_halves: InputHalves, leave_out: Callable[[Sequence[str]], None]
) -> dict[Path, Output]:
    """Read every image, and return the outputs without those whose image cannot be used; `leave_out` gets the reasons."""
    bad = unreadable(input_halves.read, [*outputs])
    reasons = [*bad.values()]
    if len(bad) == len(outputs):
        raise DataError(f"no image can be translated: {listed(reasons)}")
    if reasons:
        leave_out(reasons)
    return {image_file: output for image_file, output in outputs.items() if image_file not in bad}


def _folder_left_out(source: Path, target: Path) -> list[Path]:
    """Return the resolved folder of the output, which is not read if it is another one."""
    return [target.resolve()] if target.resolve() != source.resolve() else []

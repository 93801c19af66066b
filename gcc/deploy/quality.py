"""Measures what lower precision costs, on images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact
from gcc.artifacts.run_folder import RunData, data_of, why_unknown
from gcc.data.images import images_below, resized, to_tensor
from gcc.data.levels import LEVEL
from gcc.data.loader import SampleZ, in_order
from gcc.data.splits import DataSplits
from gcc.deploy.inputs import noise, padded
from gcc.deploy.side_by_side import InputHalves
from gcc.errors import DataError, GccError, RecipeError
from gcc.evaluation.pixels import decibels
from gcc.evaluation.split import eval_samples_on_meta, evenly_spaced
from gcc.recipe import changed, image_size
from gcc.registry import Architecture, DatasetSource, EvalSample, Inputs
from gcc.utils.units import counted

SAMPLES = 32
"""Maximum number of inputs to measure ranges on, and of others to measure quality on."""
EXACT_SAMPLES = 8
"""The same for files in float32, whose errors are those of rounding."""
LARGEST = 512
"""Largest height and width of the images of a user that are measured, in pixels; of larger ones, the middle is taken."""
TYPICAL_ERROR = 1e-3
"""Mean squared error, in [0, 1], of images that are 30 dB from the truth; counts where the truth is unknown."""


@dataclass(frozen=True)
class Loss:
    """The loss of quality by lower precision.

    Attributes:
        psnr: PSNR of the images against those of float32, values in [0, 1], averaged over images, in dB.
        worst: PSNR of the image that changes most.
        error: largest difference of an output value, in [-1, 1].
        drop: how much lower the PSNR against the truth is than in float32, averaged over images, in dB. Where the truth is unknown, as for
            images that are 30 dB from it with another error.
        knows_truth: whether the truth is known.
        samples: description of the images.
    """

    psnr: float
    worst: float
    error: float
    drop: float
    knows_truth: bool
    samples: str

    def __str__(self) -> str:
        """Describe the loss in words."""
        reference = "to the real images" if self.knows_truth else "for images 30 dB from the truth"
        drop = f"{abs(self.drop):.3f} dB {'higher' if self.drop < 0 else 'lower'} {reference}"
        levels = f"{self.error * LEVEL / 2:.0f} of {LEVEL} levels"
        errors = f"{self.psnr:.2f} dB against PyTorch in float32, {self.worst:.2f} dB in the worst image, largest error {levels}"
        return f"{errors}; {drop}; on {self.samples}"


@dataclass(frozen=True)
class Samples:
    """Inputs of a generator, each (1, ...).

    Attributes:
        calibration: inputs to measure ranges on.
        held_out: others to measure quality on.
        truth: the real counterparts of the images for `held_out`; None if there are none.
        description: describes `held_out`.
    """

    calibration: Sequence[Tensor]
    held_out: Sequence[Tensor]
    truth: Sequence[Tensor] | None
    description: str


class QualityMeter:
    """Measures the loss of generators against one in float32, whose images are computed once.

    Args:
        network: the generator in float32.
        samples: the inputs.

    Attributes:
        reach: largest output value of the generator.
    """

    @torch.inference_mode()
    def __init__(self, network: nn.Module, samples: Samples) -> None:
        self.samples = samples
        self.expected = [network(sample) for sample in samples.held_out]
        self.reach = max(float(image.abs().max()) for image in self.expected)

    @torch.inference_mode()
    def measure(self, exported: nn.Module) -> Loss:
        """Return the loss of a generator, which maps inputs (1, ...) to images (1, C, H, W) in [-1, 1]."""
        truth = self.samples.truth
        errors, of_truth, largest = [], [], 0.0
        for number, sample in enumerate(self.samples.held_out):
            image = exported(sample)
            errors.append(_error(image, self.expected[number]))
            largest = max(largest, float((image - self.expected[number]).abs().max()))
            if truth is not None:
                of_truth.append(torch.stack([_error(self.expected[number], truth[number]), _error(image, truth[number])]))
        error = torch.stack(errors)
        psnr = decibels(error)
        if truth is None:
            drop = decibels(torch.full_like(error, TYPICAL_ERROR)) - decibels(TYPICAL_ERROR + error)
        else:
            before, after = decibels(torch.stack(of_truth, 1))
            drop = before - after
        return Loss(float(psnr.mean()), float(psnr.min()), largest, float(drop.mean()), truth is not None, self.samples.description)


def _error(image: Tensor, other: Tensor) -> Tensor:
    """Return the mean squared error of an image, in [0, 1], a scalar."""
    return ((image - other) / 2).square().mean()


def samples_of(artifact: Artifact, inputs: Inputs, calibration: str | Path | None, *, most: int = SAMPLES) -> Samples:
    """Return inputs of a saved generator: images of a folder, samples of its run's data, or noise.

    Args:
        artifact: the saved generator.
        inputs: what the file accepts. If that is one size, images are resized to it; else they keep their own sizes, as in `translate`.
        calibration: the folder; None means the run's data, at the size of training unless the file accepts another one alone.
        most: the maximum number of inputs to measure ranges on, and of others to measure quality on.

    Raises:
        GccError: images cannot be read, or the data of the run is unknown or cannot have the size that the file accepts.
    """
    architecture = artifact.architecture
    if architecture.takes_noise:
        if calibration is not None:
            raise GccError(f"the generator in {artifact.folder} ({artifact.arch}) takes noise, not images: leave `calibration` out")
        noises = [noise(architecture, [number], seed=0) for number in range(2 * most)]
        return Samples(noises[:most], noises[most:], None, f"{most} inputs of noise")
    if calibration is not None:
        return _samples_of_folder(artifact, inputs, Path(calibration), most)
    return _samples_of_run(artifact, inputs, most)


def _samples_of_folder(artifact: Artifact, inputs: Inputs, folder: Path, most: int) -> Samples:
    files, input_halves = _image_files(folder), InputHalves(artifact, None)
    chosen = evenly_spaced(min(2 * most, len(files)), len(files))
    images = [_load_image(artifact, inputs, input_halves, files[index]) for index in chosen]
    held_out = images[1::2]
    return Samples(images[::2], held_out, None, f"{counted(len(held_out), 'image')} of {folder}, every second one")


def _samples_of_run(artifact: Artifact, inputs: Inputs, most: int) -> Samples:
    data = data_of(artifact.folder)
    if data is None:
        raise GccError(f"{artifact.folder} {why_unknown(artifact.folder)}: give input images with `calibration`")
    architecture = artifact.architecture
    keys = eval_samples_on_meta(architecture, architecture.example_batch())[artifact.generator]
    if inputs.step is not None or architecture.example_batch()[keys.source].shape[1:] == inputs.shape:
        return _samples_of_data(architecture, keys, data, most)
    try:
        return _samples_of_data(_at_size_of(inputs, architecture, keys.source), keys, data, most)
    except (DataError, RecipeError) as error:
        unfit = f"the data of the run cannot be read at the size of the file, {inputs} ({error})"
        raise GccError(f"{unfit}: give images with `calibration`, which are resized") from error


def _samples_of_data(architecture: Architecture[Any], keys: EvalSample, data: RunData, most: int) -> Samples:
    splits = DataSplits(architecture, data.folder, data.dataset)
    if data.skip_bad:
        splits.drop_unreadable()
    train, test = (list(_evenly_spaced_batches(source, architecture.sample_z, most)) for source in (splits.train, splits.test))
    truth = [batch[keys.target] for batch in test] if architecture.paired else None
    ranges, held_out = ([batch[keys.source] for batch in batches] for batches in (train, test))
    return Samples(ranges, held_out, truth, f"{len(test)} test images of {splits.name}")


def _at_size_of(inputs: Inputs, architecture: Architecture[Any], source: str) -> Architecture[Any]:
    """Return the family at the size of images at which its inputs have the one shape that a file accepts.

    Raises:
        RecipeError: the recipe does not allow the size.
    """
    (full_width, full_height), (height, width) = image_size(architecture.recipe), architecture.example_batch()[source].shape[2:]
    size = inputs.shape[2] * full_width // width, inputs.shape[1] * full_height // height
    square = {"image_width": None} if hasattr(architecture.recipe, "image_width") else {}
    return type(architecture)(changed(architecture.recipe, square | {"size": size}))


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder: expected one with input images")
    files = images_below(folder)
    if len(files) < 2:
        found = counted(len(files), "image")
        raise DataError(f"{folder} contains {found}: expected at least two, one to measure ranges on and one to measure quality on")
    return files


def _load_image(artifact: Artifact, inputs: Inputs, input_halves: InputHalves, file: Path) -> Tensor:
    """Return an image as `translate` gives it to the generator, but not more than the middle `LARGEST` pixels of each side.

    Raises:
        DataError: the image cannot be read, or is smaller than the generator accepts.
    """
    image, _ = input_halves.read(file)
    if inputs.step is None:
        height, width = inputs.shape[1:]
        return to_tensor(resized(image, width, height))[None]
    height, width = image.height, image.width
    if not artifact.architecture.size_multiple:
        height, width = artifact.architecture.input_size(height, width)
    tensor = padded(_middle(to_tensor(resized(image, width, height))[None]), inputs.step)
    if min(tensor.shape[2:]) < inputs.min_size:
        raise DataError(f"{file} has {image.width}x{image.height} pixels: the generator accepts {inputs.min_size} and more on each side")
    return tensor


def _middle(image: Tensor) -> Tensor:
    top, left = (max(0, side - LARGEST) // 2 for side in image.shape[2:])
    return image[:, :, top : top + LARGEST, left : left + LARGEST]


def _evenly_spaced_batches(source: DatasetSource, sample_z: SampleZ, most: int) -> Iterator[dict[str, Tensor]]:
    return in_order(source, sample_z, evenly_spaced(min(most, len(source)), len(source)), 1, torch.device("cpu"))

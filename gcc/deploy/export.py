"""Saved generators as files of other programs, compared with PyTorch before they are kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact
from gcc.artifacts.model import only, read
from gcc.artifacts.run_folder import data_of
from gcc.data.images import image_files, read_rgb, resized, to_tensor
from gcc.data.loader import in_order
from gcc.data.splits import DataSplits
from gcc.deploy.formats import FORMATS
from gcc.deploy.inputs import Inputs, random_input
from gcc.deploy.latency import Latency, measure_latency
from gcc.deploy.optimize import TOLERANCE, fold
from gcc.deploy.quantize import to_fp16, to_int8
from gcc.errors import DataError, GccError, OutputError, near
from gcc.evaluation.pixels import decibels
from gcc.evaluation.split import evenly_spaced
from gcc.models.modules import require_finite
from gcc.registry import DatasetSource
from gcc.utils.files import replacing

Precision = Literal["fp32", "fp16", "int8"]
SAMPLES = 32
"""Inputs that ranges are measured on, and as many others that quality is measured on, at most."""


@dataclass(frozen=True)
class Loss:
    """What lower precision changes.

    Attributes:
        psnr: of its images against those of float32, RGB in [0, 1], averaged over images, in dB.
        worst: of the image that changes most.
        samples: what was compared, in words.
    """

    psnr: float
    worst: float
    samples: str


@dataclass(frozen=True)
class Exported:
    """A file that was exported.

    Attributes:
        path: where it is.
        runtime: what runs it.
        inputs: what it takes.
        trials: shapes of the inputs that it was compared with PyTorch on.
        error: largest difference of an output value, in [-1, 1], on these.
        reach: largest output value there.
        before: time of the generator in PyTorch, as `gcc.load` gives it, for one example.
        after: time of the file in its runtime.
        loss: what lower precision changes; none in float32.
    """

    path: Path
    runtime: str
    inputs: Inputs
    trials: tuple[tuple[int, ...], ...]
    error: float
    reach: float
    before: Latency
    after: Latency
    loss: Loss | None

    def facts(self) -> dict[str, str]:
        """Return what there is to tell, as texts by title."""
        before, after = self.before, self.after
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.trials)
        facts = {
            "written": f"{self.path}, {self.path.stat().st_size / 1e6:.2f} MB",
            "input": str(self.inputs),
            "largest error": f"{self.error:.2g} beside PyTorch, where outputs reach {self.reach:.2g}; on {shapes}",
            "PyTorch": f"{before.median_ms:.2f} ms (p90 {before.p90_ms:.2f}) on 1x{'x'.join(map(str, self.inputs.shape))}, {before.where}",
            self.runtime: f"{after.median_ms:.2f} ms (p90 {after.p90_ms:.2f}), {before.median_ms / after.median_ms:.2f}x as fast",
        }
        if self.loss:
            facts["quality"] = f"{self.loss.psnr:.2f} dB beside float32, at the least {self.loss.worst:.2f} dB; on {self.loss.samples}"
        return facts


def export(
    student: str | Path,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    precision: Precision = "fp32",
    calibration: str | Path | None = None,
) -> Exported:
    """Write a saved generator as a file of another program, in eval mode, with batch norms folded, for every input that it takes.

    The file is read back and compared with PyTorch on several shapes before it takes its place.

    Args:
        student: folder of the saved generator.
        out: the file; none takes the folder's name with the format's suffix.
        format: `onnx`, `torchscript`, `pt2` (torch.export) or `safetensors` (the folded weights by the names of their modules).
        precision: of weights and features; `fp16` and `int8` are for ONNX.
        calibration: folder of input images, such as `gcc translate` reads; every other one measures the ranges for int8, the rest what
            lower precision costs. None takes the data of the generator's run, or noise where it takes that.

    Raises:
        GccError: the generator or the images cannot be read, a package is missing, the output cannot be written, or the file computes
            something else.
    """
    if format not in FORMATS:
        raise GccError(f"format {format!r} is unknown{near(format, FORMATS)}")
    form = FORMATS[format]
    if precision != "fp32" and format != "onnx":
        raise GccError(f"--precision {precision} is for --format onnx, and {format} was asked for: leave it out")
    if calibration is not None and precision == "fp32":
        raise GccError("--calibration is for lower precision: give --precision fp16 or int8, or leave it out")
    artifact = only(read(Path(student)))
    place = _place(artifact, out, form.suffix)
    network = artifact.network()
    example = artifact.architecture.example_input()
    inputs = Inputs.of(network, example)
    samples = None if precision == "fp32" else _samples(artifact, calibration)
    ready = fold(network, random_input((1, *inputs.shape)))
    with replacing(place) as fresh, TemporaryDirectory() as folder:
        exact = fresh if samples is None else Path(folder) / f"exact{form.suffix}"
        form.write(ready, inputs, exact)
        opened = form.read(exact, ready)
        error, reach = _compared(network, opened, inputs)
        if not error <= TOLERANCE * reach:
            raise GccError(f"the file differs by {error:.2g} from PyTorch, where outputs reach {reach:.2g}: nothing was written")
        loss = None
        if samples is not None:
            if precision == "fp16":
                to_fp16(exact, fresh)
            else:
                to_int8(exact, fresh, samples.calibration)
            opened = form.read(fresh, ready)
            error, reach = _compared(network, opened, inputs)
            loss = _loss(network, opened, samples)
        before, after = (measure_latency(each, example) for each in (network, opened))
    return Exported(place, form.runtime, inputs, tuple(inputs.trials()), error, reach, before, after, loss)


def _place(artifact: Artifact, out: str | Path | None, suffix: str) -> Path:
    folder = artifact.folder.resolve()
    place = folder.with_name(folder.name + suffix) if out is None else Path(out)
    if place.suffix != suffix:
        raise OutputError(f"{place} has not the suffix of the format: expected one such as {place.with_suffix(suffix)}")
    if place.is_dir():
        raise OutputError(f"{place} is a folder: expected a file, such as {place / ('generator' + suffix)}")
    if place.exists() and place.resolve().parent == folder:
        raise OutputError(f"{place} is a part of the saved generator: choose another --out")
    return place


def _compared(network: nn.Module, opened: nn.Module, inputs: Inputs) -> tuple[float, float]:
    """Return the largest difference of what the two make, and the largest value that `network` makes."""
    error = reach = 0.0
    with torch.inference_mode():
        for shape in inputs.trials():
            wanted, found = network(random_input(shape)), opened(random_input(shape))
            if wanted.shape != found.shape:
                raise GccError(f"the file makes {tuple(found.shape)} of {shape}, and PyTorch {tuple(wanted.shape)}: nothing was written")
            require_finite(found)
            error, reach = max(error, float((wanted - found).abs().max())), max(reach, float(wanted.abs().max()))
    return error, reach


@dataclass(frozen=True)
class _Samples:
    """Inputs (1, ...) to measure ranges on, others to measure quality on, and what these are."""

    calibration: list[Tensor]
    held_out: list[Tensor]
    about: str


def _loss(network: nn.Module, opened: nn.Module, samples: _Samples) -> Loss:
    with torch.inference_mode():
        errors = [(((network(sample) - opened(sample)) / 2).square().mean()) for sample in samples.held_out]
    psnr = decibels(torch.stack(errors))
    return Loss(float(psnr.mean()), float(psnr.min()), samples.about)


def _samples(artifact: Artifact, calibration: str | Path | None) -> _Samples:
    if artifact.architecture.sample_z(np.random.default_rng()) is not None:
        if calibration is not None:
            raise GccError(f"{artifact.folder} is a {artifact.arch} generator, which takes noise and no image: leave --calibration out")
        noises = [torch.stack([z]) for z in _noises(artifact) if z is not None]
        return _Samples(noises[:SAMPLES], noises[SAMPLES:], f"{SAMPLES} inputs of noise that the ranges were not measured on")
    if calibration is not None:
        images = [_image(artifact, file) for file in islice(_files(Path(calibration)), 2 * SAMPLES)]
        return _Samples(images[::2], images[1::2], f"{len(images) // 2} images of {calibration} that the ranges were not measured on")
    found = data_of(artifact.folder)
    if found is None:
        raise GccError(f"{artifact.folder} lies in no run's folder, which would tell its data: give input images with --calibration DIR")
    splits = DataSplits(artifact.architecture, *found, skip_bad=False)
    key = _source_key(artifact)
    train, test = ([batch[key] for batch in _some(source)] for source in (splits.train, splits.test))
    return _Samples(train, test, f"{len(test)} test images of {splits.name}")


def _noises(artifact: Artifact) -> Iterator[Tensor | None]:
    return (artifact.architecture.sample_z(np.random.default_rng((0, number))) for number in range(2 * SAMPLES))


def _files(folder: Path) -> list[Path]:
    files = image_files(folder)
    if len(files) < 2:
        raise DataError(f"{folder} holds {len(files)} images: expected a folder of at least two, one to measure ranges and one to judge")
    return files


def _image(artifact: Artifact, file: Path) -> Tensor:
    image = read_rgb(file)
    height, width = artifact.architecture.input_size(image.height, image.width)
    return to_tensor(resized(image, width, height))[None]


def _some(source: DatasetSource) -> Iterator[dict[str, Tensor]]:
    return in_order(source, evenly_spaced(min(SAMPLES, len(source)), len(source)), 1, torch.device("cpu"))


def _source_key(artifact: Artifact) -> str:
    """Return the key of a batch's entry that the generator reads."""
    architecture = artifact.architecture
    with torch.device("meta"), torch.no_grad():
        widths, batch = architecture.full_widths(1), architecture.example_batch()
        generators = {name: architecture.build_generator(widths).eval() for name in architecture.generators}
        return architecture.eval_samples(batch, architecture.generate(generators, batch))[artifact.generator].source

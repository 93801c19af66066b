"""Exports saved generators to files of other programs, and compares these with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact, Factory
from gcc.artifacts.hub import is_address
from gcc.artifacts.model import default_output, read, single_generator
from gcc.artifacts.run_folder import data_of
from gcc.data.images import image_files, resized, to_tensor
from gcc.data.loader import SampleZ, in_order
from gcc.data.splits import DataSplits
from gcc.deploy.formats import FORMATS
from gcc.deploy.guide import Guide
from gcc.deploy.inputs import Inputs, noise, random_input
from gcc.deploy.latency import Latency, measure_in_turns
from gcc.deploy.optimize import TOLERANCE, fold
from gcc.deploy.quantize import to_fp16, to_int8
from gcc.deploy.side_by_side import InputHalves
from gcc.errors import DataError, GccError, OutputError, suggestion
from gcc.evaluation.pixels import decibels
from gcc.evaluation.split import eval_samples_on_meta, evenly_spaced
from gcc.models.modules import require_finite, without_autocast
from gcc.registry import DatasetSource
from gcc.utils.arguments import checked_arguments
from gcc.utils.files import replacing

Precision = Literal["fp32", "fp16", "int8"]
SAMPLES = 32
"""Maximum number of inputs to measure ranges on, and of others to measure quality on."""


@dataclass(frozen=True)
class Loss:
    """The loss of quality by lower precision.

    Attributes:
        psnr: PSNR of the images against those of float32, RGB in [0, 1], averaged over images, in dB.
        worst: PSNR of the image that changes most.
        samples: description of the images.
    """

    psnr: float
    worst: float
    samples: str


@dataclass(frozen=True)
class Exported:
    """An exported file.

    Attributes:
        path: the file.
        runtime: the program that runs it.
        inputs: the inputs that it accepts.
        trials: shapes of the inputs of the comparison with PyTorch.
        error: largest difference of an output value, in [-1, 1], on these inputs.
        reach: largest output value on these inputs.
        before: latency of the generator in PyTorch, as `gcc.load` returns it, for one example.
        after: latency of the file in its runtime.
        loss: loss of quality by lower precision; None in float32.
        feeding: names, layout, range, colours, sizes and the resize of inputs and outputs, by title; also the file's metadata.
        guides: the README and the script that were written next to the file.
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
    feeding: Mapping[str, str]
    guides: Sequence[Path]

    def facts(self) -> dict[str, str]:
        """Return the formatted results by title."""
        before, after = self.before, self.after
        shapes = ", ".join("x".join(map(str, shape)) for shape in self.trials)
        facts = {
            "written": f"{self.path}, {self.path.stat().st_size / 1e6:.2f} MB",
            **{title: text.replace("`", "") for title, text in self.feeding.items()},
            "how to run it": ", ".join(map(str, self.guides)),
            "largest error": f"{self.error:.2g} against PyTorch, with outputs up to {self.reach:.2g}; on {shapes}",
            "PyTorch": f"{before.median_ms:.2f} ms (p90 {before.p90_ms:.2f}) on 1x{'x'.join(map(str, self.inputs.shape))}, {before.where}",
            self.runtime: f"{after.median_ms:.2f} ms (p90 {after.p90_ms:.2f}), {before.median_ms / after.median_ms:.2f}x as fast",
        }
        if self.loss:
            facts["quality"] = f"{self.loss.psnr:.2f} dB against float32, at least {self.loss.worst:.2f} dB; on {self.loss.samples}"
        return facts


@checked_arguments
@without_autocast()
def export(
    student: str | Path,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    precision: Precision = "fp32",
    calibration: str | Path | None = None,
    factory: Factory | None = None,
) -> Exported:
    """Export a saved generator to a file of another program, in eval mode, with folded batch norms, for all inputs that it accepts.

    Reads the file back and compares it with PyTorch on several shapes before it replaces an existing file. `FILE.README.md` and
    `FILE.infer.py`, which needs numpy, Pillow and the runtime alone, say how to feed it; so does the file's metadata.

    Args:
        student: folder of the saved generator.
        out: the file; None takes the folder's name with the format's suffix, next to the folder, or here for a generator on the Hub.
        format: `onnx`, `torchscript`, `pt2` (torch.export) or `safetensors` (the folded weights by module name).
        precision: precision of weights and features; `fp16` and `int8` require ONNX.
        calibration: folder of input images. Every second one measures the ranges for int8, the others the loss of quality. None takes the
            data of the generator's run, or noise if the generator takes noise.
        factory: makes the full generator, such as its class, if it is a generator of your own; see `gcc.load`.

    Raises:
        GccError: the generator or the images cannot be read, a package is missing, the output cannot be written, or the file computes
            something else.
    """
    if format not in FORMATS:
        raise GccError(f"format {format!r} is unknown{suggestion(format, FORMATS)}")
    file_format = FORMATS[format]
    if precision != "fp32" and format != "onnx":
        raise GccError(f'`precision="{precision}"` requires `format="onnx"`, not {format}: leave it out')
    if calibration is not None and precision == "fp32":
        raise GccError('`calibration` requires lower precision: give `precision="fp16"` or `precision="int8"`, or leave it out')
    artifact = single_generator(read(Path(student), factory=factory))
    default = Path(student) if is_address(student) else artifact.folder
    path = default_output(default, file_format.suffix) if out is None else Path(out)
    _require_output(path, artifact, file_format.suffix)
    network = artifact.network()
    example = artifact.example_input()
    inputs = Inputs.of(network, example)
    guide = Guide(artifact, inputs, format)
    samples = None if precision == "fp32" else _samples(artifact, calibration)
    ready = fold(network, random_input((1, *inputs.shape)))
    with replacing(path) as fresh, TemporaryDirectory() as folder:
        exact = fresh if samples is None else Path(folder) / f"exact{file_format.suffix}"
        file_format.write(ready, inputs, exact, guide.metadata())
        exported = file_format.read(exact, ready)
        error, reach = _compare(network, exported, inputs)
        if not error <= TOLERANCE * reach:
            raise GccError(f"the file differs by {error:.2g} from PyTorch, with outputs up to {reach:.2g}: nothing was written")
        loss = None
        if samples is not None:
            if precision == "fp16":
                to_fp16(exact, fresh)
            else:
                to_int8(exact, fresh, samples.calibration)
            exported = file_format.read(fresh, ready)
            error, reach = _compare(network, exported, inputs)
            loss = _loss(network, exported, samples)
        before, after = measure_in_turns((network, exported), example)
    trials = tuple(inputs.probe_shapes())
    return Exported(path, file_format.runtime, inputs, trials, error, reach, before, after, loss, guide.facts(), guide.write(path))


def _require_output(path: Path, artifact: Artifact, suffix: str) -> None:
    """Refuse an output file of another suffix, a folder, and a file of the saved generator."""
    if path.suffix != suffix:
        other = next((f', or `format="{name}"`' for name, one in FORMATS.items() if one.suffix == path.suffix), "")
        raise OutputError(f"{path} does not have the suffix of the format: expected a file such as {path.with_suffix(suffix)}{other}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder: expected a file, such as {path / ('generator' + suffix)}")
    if path.exists() and path.resolve().parent == artifact.folder.resolve():
        raise OutputError(f"{path} is part of the saved generator: choose another `out`")


def _compare(network: nn.Module, exported: nn.Module, inputs: Inputs) -> tuple[float, float]:
    """Return the largest difference between the two outputs, and the largest output of `network`."""
    error = reach = 0.0
    with torch.inference_mode():
        for shape in inputs.probe_shapes():
            expected, output = network(random_input(shape)), exported(random_input(shape))
            if expected.shape != output.shape:
                raise GccError(
                    f"for inputs {shape} the file returns {tuple(output.shape)}, and PyTorch {tuple(expected.shape)}: nothing was written"
                )
            require_finite(output)
            error, reach = max(error, float((expected - output).abs().max())), max(reach, float(expected.abs().max()))
    return error, reach


@dataclass(frozen=True)
class _Samples:
    """Inputs (1, ...) to measure ranges on, others to measure quality on, and a description of the latter."""

    calibration: list[Tensor]
    held_out: list[Tensor]
    description: str


def _loss(network: nn.Module, exported: nn.Module, samples: _Samples) -> Loss:
    with torch.inference_mode():
        errors = [(((network(sample) - exported(sample)) / 2).square().mean()) for sample in samples.held_out]
    psnr = decibels(torch.stack(errors))
    return Loss(float(psnr.mean()), float(psnr.min()), samples.description)


def _samples(artifact: Artifact, calibration: str | Path | None) -> _Samples:
    architecture = artifact.architecture
    if architecture.takes_noise:
        if calibration is not None:
            raise GccError(
                f"{artifact.folder} is a generator of the family {artifact.arch}, which takes noise, not images: leave `calibration` out"
            )
        inputs = [noise(architecture, [number], seed=0) for number in range(2 * SAMPLES)]
        return _Samples(inputs[:SAMPLES], inputs[SAMPLES:], f"{SAMPLES} inputs of noise that the ranges were not measured on")
    if calibration is not None:
        images = [_load_image(artifact, file) for file in islice(_image_files(Path(calibration)), 2 * SAMPLES)]
        return _Samples(images[::2], images[1::2], f"{len(images) // 2} images of {calibration} that the ranges were not measured on")
    data = data_of(artifact.folder)
    if data is None:
        raise GccError(f"{artifact.folder} is not in the folder of a run, so its data is unknown: give input images with `calibration`")
    splits = DataSplits(architecture, data.folder, data.dataset)
    if data.skip_bad:
        splits.drop_unreadable()
    key = eval_samples_on_meta(architecture, architecture.example_batch())[artifact.generator].source
    train, test = (
        [batch[key] for batch in _evenly_spaced_batches(source, architecture.sample_z)] for source in (splits.train, splits.test)
    )
    return _Samples(train, test, f"{len(test)} test images of {splits.name}")


def _image_files(folder: Path) -> list[Path]:
    files = image_files(folder)
    if len(files) < 2:
        raise DataError(
            f"{folder} contains {len(files)} images: expected at least two, one to measure ranges on and one to measure quality on"
        )
    return files


def _load_image(artifact: Artifact, file: Path) -> Tensor:
    image, _ = InputHalves(artifact, None).read(file)
    height, width = artifact.architecture.input_size(image.height, image.width)
    return to_tensor(resized(image, width, height))[None]


def _evenly_spaced_batches(source: DatasetSource, sample_z: SampleZ) -> Iterator[dict[str, Tensor]]:
    return in_order(source, sample_z, evenly_spaced(min(SAMPLES, len(source)), len(source)), 1, torch.device("cpu"))

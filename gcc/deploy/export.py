"""Exports saved generators to files of other programs, and compares these with PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact, Factory
from gcc.artifacts.hub import is_address
from gcc.artifacts.model import default_output, read, single_generator
from gcc.artifacts.run_folder import data_of
from gcc.data.images import image_files, resized, to_tensor
from gcc.data.loader import SampleZ, in_order
from gcc.data.splits import DataSplits
from gcc.deploy.guide import Guide
from gcc.deploy.inputs import accepted_inputs, noise, random_input
from gcc.deploy.latency import Latency, measure_in_turns
from gcc.deploy.optimize import TOLERANCE, fold
from gcc.deploy.runtime_names import FORMATS, format_names
from gcc.deploy.side_by_side import InputHalves
from gcc.errors import DataError, GccError, OutputError, suggestion
from gcc.evaluation.pixels import decibels
from gcc.evaluation.split import eval_samples_on_meta, evenly_spaced
from gcc.models.modules import require_finite, without_autocast
from gcc.registry import RUNTIMES, DatasetSource, Inputs, Runtime
from gcc.registry.runtime import Precision
from gcc.utils.arguments import checked_arguments
from gcc.utils.files import replacing_all

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
class Comparison:
    """An exported file beside the generator in PyTorch, on inputs of several shapes.

    Attributes:
        trials: shapes of the inputs.
        error: largest difference of an output value, in [-1, 1].
        reach: largest output value.
    """

    trials: tuple[tuple[int, ...], ...]
    error: float
    reach: float


@dataclass(frozen=True)
class Exported:
    """An exported generator.

    Attributes:
        path: the file, or the first of several.
        files: all files.
        runtime: the program that runs it.
        inputs: the inputs that it accepts.
        comparison: comparison of the outputs with PyTorch's; None if the program does not run on this system.
        before: latency of the generator in PyTorch, as `gcc.load` returns it, for one example.
        after: latency of the file in its runtime; None if the program does not run on this system.
        loss: loss of quality by lower precision; None in float32, or if the program does not run on this system.
        feeding: names, layout, range, colours, sizes and the resize of inputs and outputs, by title; also the file's metadata.
        guides: the README and the script that were written next to the file.
    """

    path: Path
    files: Sequence[Path]
    runtime: str
    inputs: Inputs
    comparison: Comparison | None
    before: Latency
    after: Latency | None
    loss: Loss | None
    feeding: Mapping[str, str]
    guides: Sequence[Path]

    def facts(self) -> dict[str, str]:
        """Return the formatted results by title."""
        return {
            "written": f"{', '.join(map(str, self.files))}, {sum(map(_bytes_of, self.files)) / 1e6:.2f} MB",
            **{title: text.replace("`", "") for title, text in self.feeding.items()},
            "how to run it": ", ".join(map(str, self.guides)),
            **_measured(self.runtime, self.inputs, self.comparison, (self.before, self.after), self.loss),
        }


def _bytes_of(path: Path) -> int:
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file()) if path.is_dir() else path.stat().st_size


def _measured(
    runtime: str, inputs: Inputs, comparison: Comparison | None, latencies: tuple[Latency, Latency | None], loss: Loss | None
) -> dict[str, str]:
    """Return what was measured, by title."""
    before, after = latencies
    shape = "x".join(map(str, (1, *inputs.shape)))
    facts = {"PyTorch": f"{before.median_ms:.2f} ms (p90 {before.p90_ms:.2f}) on {shape}, {before.where}"}
    if comparison is None or after is None:
        return facts | {runtime: "not run: it does not run on this system, so outputs and times were not compared"}
    shapes = ", ".join("x".join(map(str, trial)) for trial in comparison.trials)
    facts = {
        "largest error": f"{comparison.error:.2g} against PyTorch, with outputs up to {comparison.reach:.2g}; on {shapes}",
        **facts,
        runtime: f"{after.median_ms:.2f} ms (p90 {after.p90_ms:.2f}), {before.median_ms / after.median_ms:.2f}x as fast",
    }
    if loss:
        facts["quality"] = f"{loss.psnr:.2f} dB against float32, at least {loss.worst:.2f} dB; on {loss.samples}"
    return facts


@checked_arguments
@without_autocast()
def export(
    student: str | Path,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    precision: Precision = "fp32",
    size: int | tuple[int, int] | None = None,
    calibration: str | Path | None = None,
    factory: Factory | None = None,
) -> Exported:
    """Export a saved generator to the file of another program, in eval mode, with folded batch norms.

    Reads the file back and compares it with PyTorch on several shapes before it replaces an existing file. `FILE.README.md` and
    `FILE.infer.py`, which needs numpy, Pillow and the runtime alone, say how to feed it; so does the file's metadata.

    Args:
        student: folder of the saved generator.
        out: the file; None takes the folder's name with the format's suffix, next to the folder, or here for a generator on the Hub.
            Formats of several files write the others next to it.
        format: `onnx`, or the name of another runtime: `torchscript`, `pt2` (torch.export), `safetensors` (the folded weights by module
            name), `openvino`, `ncnn`, `litert`, `coreml`, or that of a plugin. `litert` and `coreml` accept one size of images, `ncnn`
            one sample at a time; the others accept all inputs that the generator accepts.
        precision: precision of weights and features: `fp16` for ONNX, OpenVINO, ncnn and Core ML, `int8` for ONNX.
        size: size of images, a width and a height or one number for both, for formats that accept one size, and for times; None takes the
            size that costs refer to.
        calibration: folder of input images. Every second one measures the ranges for int8, the others the loss of quality. None takes the
            data of the generator's run, or noise if the generator takes noise.
        factory: makes the full generator, such as its class, if it is a generator of your own; see `gcc.load`.

    Raises:
        GccError: the generator or the images cannot be read, a package is missing, the output cannot be written, the format cannot
            express the generator, or the file computes something else.
    """
    runtime = _runtime(format, precision)
    if calibration is not None and precision == "fp32":
        raise GccError('`calibration` requires lower precision: give `precision="fp16"` or `precision="int8"`, or leave it out')
    artifact = single_generator(read(Path(student), factory=factory))
    default = Path(student) if is_address(student) else artifact.folder
    path = default_output(default, runtime.suffixes[0]) if out is None else Path(out)
    files = _files(path, artifact, runtime)
    runtime.require()
    network, accepted = artifact.network(), accepted_inputs(artifact.network(), artifact.example_input())
    if size is not None:
        width, height = (size, size) if isinstance(size, int) else size
        accepted = replace(accepted, shape=accepted.of_size(width, height))
    inputs = runtime.accepts(accepted)
    guide = Guide(artifact, inputs, runtime)
    samples = None if precision == "fp32" or not runtime.is_timed else _samples(artifact, calibration)
    example = random_input((1, *inputs.shape))
    ready = fold(network, example)
    with replacing_all(files) as fresh, TemporaryDirectory() as folder:
        exact = (fresh if precision == "fp32" else Path(folder)) / path.name
        with _explained(runtime, format):
            runtime.write(ready, inputs, exact, guide.metadata())
        exported = runtime.read(exact, ready)
        comparison = _compare(network, exported, inputs)
        if comparison and not comparison.error <= TOLERANCE * comparison.reach:
            raise GccError(
                f"the file differs by {comparison.error:.2g} from PyTorch, with outputs up to {comparison.reach:.2g}: nothing was written"
            )
        if precision != "fp32":
            with _explained(runtime, format):
                if precision == "fp16":
                    runtime.write(ready, inputs, fresh / path.name, guide.metadata(), precision)
                elif samples:
                    runtime.quantize(exact, fresh / path.name, samples.calibration)
            exported = runtime.read(fresh / path.name, ready)
            comparison = _compare(network, exported, inputs)
        loss = _loss(network, exported, samples) if samples and exported else None
        before, *after = measure_in_turns((network, exported) if exported else (network,), example)
    latencies = before, after[0] if after else None
    guides = guide.write(path, _measured(runtime.title, inputs, comparison, latencies, loss))
    return Exported(path, files, runtime.title, inputs, comparison, *latencies, loss, guide.facts(), guides)


def _runtime(format: str, precision: Precision) -> Runtime:
    """Return the runtime of a format, which must have the precision."""
    name = FORMATS.get(format, format)
    if name not in RUNTIMES.names():
        raise GccError(f"format {format!r} is unknown{suggestion(format, format_names())}")
    runtime = RUNTIMES.load(name)()
    if precision not in runtime.precisions:
        others = [other for other in format_names() if precision in RUNTIMES.load(FORMATS.get(other, other)).precisions]
        raise GccError(f'`precision="{precision}"` is not available for {format}: use a format that has it ({", ".join(others)})')
    return runtime


@contextmanager
def _explained(runtime: Runtime, format: str) -> Iterator[None]:
    """Turn a converter's errors into `GccError`."""
    try:
        yield
    except (GccError, OSError):
        raise
    except Exception as error:  # A converter can raise anything.
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise GccError(f"{runtime.title} cannot express this generator ({reason}): choose another format than {format}") from error


def _files(path: Path, artifact: Artifact, runtime: Runtime) -> list[Path]:
    """Return the files of an output path; refuse another suffix, a folder in place of a file, and a file of the saved generator."""
    first, *_ = runtime.suffixes
    if not path.name.endswith(first):
        other = next((f', or `format="{name}"`' for name in format_names() if path.name.endswith(_suffix_of(name))), "")
        stem = path.name.removesuffix("".join(path.suffixes)) or path.name
        raise OutputError(f"{path} does not have the suffix of the format: expected a file such as {path.with_name(stem + first)}{other}")
    files = [path.with_name(path.name.removesuffix(first) + suffix) for suffix in runtime.suffixes]
    for file in files:
        if file.is_dir() and not (file / "Manifest.json").is_file():
            raise OutputError(f"{file} is a folder: expected a file, such as {file / ('generator' + first)}")
        if file.exists() and file.resolve().parent == artifact.folder.resolve():
            raise OutputError(f"{file} is part of the saved generator: choose another `out`")
    return files


def _suffix_of(format: str) -> str:
    return RUNTIMES.load(FORMATS.get(format, format)).suffixes[0]


def _compare(network: nn.Module, exported: nn.Module | None, inputs: Inputs) -> Comparison | None:
    """Compare the outputs of a file with those of `network`; None if the program does not run on this system."""
    if exported is None:
        return None
    error = reach = 0.0
    shapes = tuple(inputs.probe_shapes())
    with torch.inference_mode():
        for shape in shapes:
            expected, output = network(random_input(shape)), exported(random_input(shape))
            if expected.shape != output.shape:
                raise GccError(
                    f"for inputs {shape} the file returns {tuple(output.shape)}, and PyTorch {tuple(expected.shape)}: nothing was written"
                )
            require_finite(output)
            error, reach = max(error, float((expected - output).abs().max())), max(reach, float(expected.abs().max()))
    return Comparison(shapes, error, reach)


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

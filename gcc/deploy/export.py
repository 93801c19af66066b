"""Exports saved generators to files of other programs, and compares these with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn

from gcc.artifacts.comparison import spread_note
from gcc.artifacts.config import Artifact, Factory
from gcc.artifacts.hub import is_address
from gcc.artifacts.model import default_output, read, single_generator
from gcc.deploy.guide import Guide
from gcc.deploy.inputs import accepted_inputs, random_input
from gcc.deploy.latency import Latency, measure_in_turns
from gcc.deploy.mixed_precision import quantize_within
from gcc.deploy.optimize import TOLERANCE, fold
from gcc.deploy.quality import EXACT_SAMPLES, Loss, QualityMeter, Samples, samples_of
from gcc.deploy.runtime_names import FORMATS, format_names
from gcc.deploy.runtimes import program_errors
from gcc.errors import GccError, OutputError, PluginError, suggestion
from gcc.models.modules import require_finite, without_autocast
from gcc.registry import RUNTIMES, Inputs, QuantizingRuntime, Runtime
from gcc.registry.runtime import Precision
from gcc.utils.arguments import checked_arguments
from gcc.utils.files import replacing_all


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
        precision: precision of weights and features.
        comparison: comparison of the outputs with PyTorch's; None if the program does not run on this system.
        before: latency of the generator in PyTorch, as `gcc.load` returns it, for one example.
        after: latency of the file in its runtime; None if the program does not run on this system.
        loss: loss of quality against PyTorch in float32, on images; None if there were no images, or the program does not run here.
        in_float32: names of the layers of an int8 file that stayed in float32.
        feeding: names, layout, range, colours, sizes and the resize of inputs and outputs, by title; also the file's metadata.
        guides: the README and the script that were written next to the file.
    """

    path: Path
    files: Sequence[Path]
    runtime: str
    inputs: Inputs
    precision: Precision
    comparison: Comparison | None
    before: Latency
    after: Latency | None
    loss: Loss | None
    in_float32: Sequence[str]
    feeding: Mapping[str, str]
    guides: Sequence[Path]

    @property
    def size(self) -> int:
        """The size of all files in bytes."""
        return sum(map(_bytes_of, self.files))

    def facts(self) -> dict[str, str]:
        """Return the formatted results by title."""
        return {
            "written": f"{', '.join(map(str, self.files))}, {self.size / 1e6:.2f} MB",
            **{title: text.replace("`", "") for title, text in self.feeding.items()},
            "how to run it": ", ".join(map(str, self.guides)),
            **_measured(self.runtime, self.inputs, self.comparison, (self.before, self.after), self.loss),
            **({"in float32": ", ".join(self.in_float32) or "no layer"} if self.precision == "int8" else {}),
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
    busy = spread_note((latency.median_ms, latency.p90_ms) for latency in (before, after))
    ratio = busy or f"{before.median_ms / after.median_ms:.2f}x as fast"
    facts = {
        "largest error": f"{comparison.error:.2g} against PyTorch, with outputs up to {comparison.reach:.2g}; on noise of {shapes}",
        **facts,
        runtime: f"{after.median_ms:.2f} ms (p90 {after.p90_ms:.2f}), {ratio}",
    }
    if loss:
        facts["quality"] = str(loss)
    return facts


def _ignore(line: str) -> None:
    """Do nothing with a line."""


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
    max_loss: float | None = None,
    report: Callable[[str], None] = _ignore,
    factory: Factory | None = None,
) -> Exported:
    """Export a saved generator to a file for another runtime, in eval mode, with folded batch norms.

    Reads the file back and compares it with PyTorch on several shapes before it replaces an existing file. `FILE.README.md`, the script
    `FILE.infer.py`, which needs only numpy, Pillow and the runtime, and the file's metadata describe its inputs.

    Args:
        student: folder of the saved generator.
        out: the file; None means the folder's name with the format's suffix, next to the folder, or here for a generator on the Hub. In
            lower precision, the name includes the precision, such as `student.int8.onnx`.
            Formats with several files write the others next to it.
        format: `onnx`, or the name of another runtime: `torchscript`, `pt2` (torch.export), `safetensors` (the folded weights by module
            name), `openvino`, `ncnn`, `litert`, `coreml`, or that of a plugin. `litert` and `coreml` accept one size of images, `ncnn`
            one sample at a time; the others accept all inputs that the generator accepts.
        precision: precision of weights and features: `fp16` for ONNX, OpenVINO, ncnn and Core ML, `int8` for ONNX, OpenVINO and LiteRT.
        size: size of images, a width and a height or one number for both, for formats that accept one size, and for timings; None means the
            size that costs refer to.
        calibration: folder of input images, which keep their sizes unless the file accepts one size. Every second image is used to
            measure the ranges for int8, and the others to measure the loss of quality. None means the data of the generator's run at the
            size of training, or noise if the generator takes noise. In float32, a few of them are compared, if there are any.
        max_loss: the largest `Loss.drop` of a lower precision, in dB, such as 0.2; None accepts any. For `int8`, the layers that lose most
            stay in float32, as few as possible.
        report: called with a line for each measurement of the search for these layers, and if there are no images to compare.
        factory: returns the full generator, such as its class, if the generator is your own; see `gcc.load`.

    Raises:
        GccError: the generator or the images cannot be read, a package is missing, the output cannot be written, the format cannot
            express the generator, the file computes something else, or lower precision loses more than `max_loss`.
    """
    runtime = _runtime(format, precision)
    _require_measurable(runtime, format, precision, calibration, max_loss)
    artifact = single_generator(read(Path(student), factory=factory))
    default = Path(student) if is_address(student) else artifact.folder
    suffix = runtime.suffixes[0] if precision == "fp32" else f".{precision}{runtime.suffixes[0]}"
    path = default_output(default, suffix) if out is None else Path(out)
    files = _files(path, artifact, runtime)
    runtime.require()
    network, accepted = artifact.network(), accepted_inputs(artifact.network(), artifact.example_input())
    if size is not None:
        width, height = (size, size) if isinstance(size, int) else size
        accepted = replace(accepted, shape=accepted.checked_shape(width, height))
    inputs = runtime.accepts(accepted)
    guide = Guide(artifact, inputs, runtime)
    samples = _samples(artifact, inputs, runtime, precision, calibration, report)
    example = random_input((1, *inputs.shape))
    writer = _Writer(runtime, network, fold(network, example), inputs, guide.metadata(), samples, max_loss, report)
    with replacing_all(files) as fresh:
        with program_errors(runtime):
            written = writer.write(fresh / path.name, precision)
        exported, loss = written.exported, written.loss
        if loss and max_loss is not None and loss.drop > max_loss:
            raise GccError(f"{precision} costs {loss.drop:.3f} dB, more than {max_loss:g} dB: allow a larger `max_loss`, or use float32")
        before, *after = measure_in_turns((network, exported) if exported else (network,), example)
    latencies = before, after[0] if after else None
    guides = guide.write(path, {"precision": precision} | _measured(runtime.title, inputs, written.comparison, latencies, loss))
    return Exported(
        path, files, runtime.title, inputs, precision, written.comparison, *latencies, loss, written.in_float32, guide.facts(), guides
    )


@dataclass(frozen=True)
class _Written:
    """Files that were written.

    Attributes:
        exported: the module that runs them; None if the program does not run on this system.
        comparison: of that module with PyTorch.
        loss: of quality, on images.
        in_float32: names of the layers that stayed in float32.
    """

    exported: nn.Module | None
    comparison: Comparison | None
    loss: Loss | None
    in_float32: Sequence[str] = ()


@dataclass(frozen=True)
class _Writer:
    """Writes the files of one generator, and compares them with it.

    Attributes:
        runtime: the program.
        network: the generator.
        folded: the same, folded.
        inputs: what the files must accept.
        metadata: texts for the files.
        samples: inputs that ranges and quality are measured on.
        max_loss: the largest `Loss.drop`, in dB.
        report: called with a line for each measurement.
    """

    runtime: Runtime
    network: nn.Module
    folded: nn.Module
    inputs: Inputs
    metadata: Mapping[str, str]
    samples: Samples | None
    max_loss: float | None
    report: Callable[[str], None]

    def write(self, path: Path, precision: Precision) -> _Written:
        """Write the files in a precision. Those of a lower one are made only if the ones in float32 equal the generator.

        Raises:
            GccError: the files in float32 compute something else, or no layer can be in int8.
        """
        with TemporaryDirectory() as folder:
            exact = path if precision == "fp32" else Path(folder) / path.name
            exported = self._write(exact)
            comparison = _compare(self.network, exported, self.inputs)
            if comparison:
                _require_equal(comparison.error, comparison.reach, "noise")
            meter = QualityMeter(self.network, self.samples) if self.samples and exported else None
            in_float32: Sequence[str] = ()
            if precision == "fp16":
                exported = self._write(path, precision)
            elif precision == "int8":
                in_float32 = self._quantize(exact, path, meter)
                exported = self._read(path)
        if precision != "fp32":
            comparison = _compare(self.network, exported, self.inputs)
        loss = meter.measure(exported) if meter and exported else None
        if loss and meter and precision == "fp32":
            _require_equal(loss.error, meter.reach, loss.samples)
        return _Written(exported, comparison, loss, in_float32)

    def _write(self, path: Path, precision: Precision = "fp32") -> nn.Module | None:
        self.runtime.write(self.folded, self.inputs, path, self.metadata, precision)
        return self._read(path)

    def _read(self, path: Path) -> nn.Module | None:
        return self.runtime.read(path, self.folded)

    def _quantize(self, exact: Path, path: Path, meter: QualityMeter | None) -> list[str]:
        """Write int8, and return the names of the layers that stay in float32."""
        assert isinstance(self.runtime, QuantizingRuntime) and self.samples is not None

        def measure(trial: Path) -> Loss:
            exported = self._read(trial)
            assert exported is not None and meter is not None
            return meter.measure(exported)

        source = self.runtime.int8_source(exact, self.folded, self.inputs, self.metadata)
        return quantize_within(self.runtime, source, path, self.samples, measure if meter else None, self.max_loss, self.report)


def _require_measurable(
    runtime: Runtime, format: str, precision: Precision, calibration: str | Path | None, max_loss: float | None
) -> None:
    """Check that a limit of the loss, and images to measure it on, apply."""
    if max_loss is not None and not max_loss > 0:
        raise GccError(f"`max_loss={max_loss}`: expected a number of dB above 0")
    if max_loss is not None and precision == "fp32":
        raise GccError(f'`max_loss={max_loss}` limits what lower precision costs: give `precision="fp16"` or `precision="int8"`, too')
    if (max_loss is not None or calibration is not None) and not runtime.is_timed and precision != "int8":
        raise GccError(f"{format} files do not run on this system, so their loss is unknown: leave `max_loss` and `calibration` out")


def _samples(
    artifact: Artifact,
    inputs: Inputs,
    runtime: Runtime,
    precision: Precision,
    calibration: str | Path | None,
    report: Callable[[str], None],
) -> Samples | None:
    """Return inputs to measure on; in float32, which needs none, None if there are none."""
    if precision != "int8" and not runtime.is_timed:
        return None
    if precision != "fp32" or calibration is not None:
        return samples_of(artifact, inputs, calibration)
    try:
        return samples_of(artifact, inputs, None, most=EXACT_SAMPLES)
    except GccError as error:
        report(f"compared on noise, not on images: {error}")
        return None


def _require_equal(error: float, reach: float, inputs: str) -> None:
    """Check that the error of a file in float32 is that of rounding."""
    if not error <= TOLERANCE * reach:
        raise GccError(f"the file differs by {error:.2g} from PyTorch, with outputs up to {reach:.2g}, on {inputs}: nothing was written")


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


def _files(path: Path, artifact: Artifact, runtime: Runtime) -> list[Path]:
    """Return the files of an output path; refuse another suffix, files of the saved generator, and what no export can have written."""
    first, *_ = runtime.suffixes
    if not path.name.endswith(first):
        form, suffix = next((known for known in _suffixes() if path.name.endswith(known[1])), ("", path.suffix))
        other = f', or `format="{form}"`' if form else ""
        expected = path.with_name((path.name.removesuffix(suffix) or path.name) + first)
        raise OutputError(f"{path} does not have the suffix of the format: expected a file such as {expected}{other}")
    files = [path.with_name(path.name.removesuffix(first) + suffix) for suffix in runtime.suffixes]
    for file in files:
        if file.exists() and file.resolve().parent == artifact.folder.resolve():
            raise OutputError(f"{file} is part of the saved generator: choose another `out`")
        if file.exists() and file.is_dir() != runtime.folder:
            raise OutputError(f"{file} is a {'folder' if file.is_dir() else 'file'}: choose another `out`")
        if file.exists() and not path.exists():
            raise OutputError(f"{file} exists without {path.name}, so it may be another program's: move it, or choose another `out`")
    return files


def _suffixes() -> Iterator[tuple[str, str]]:
    """Yield the formats of working plugins and their suffixes."""
    for name in format_names():
        with suppress(PluginError):
            yield name, RUNTIMES.load(FORMATS.get(name, name)).suffixes[0]


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

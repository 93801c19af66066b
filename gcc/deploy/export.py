"""Exports saved generators to files of other programs, and compares these with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from gcc.artifacts.config import CONFIG, Artifact, Factory
from gcc.artifacts.hub import is_address
from gcc.artifacts.model import SHARED, default_output, read, single_generator
from gcc.deploy.exported import Exported
from gcc.deploy.file_writer import FileWriter
from gcc.deploy.guide import Guide
from gcc.deploy.inputs import accepted_inputs, random_input, width_and_height
from gcc.deploy.latency import measure_in_turns
from gcc.deploy.optimize import fold
from gcc.deploy.quality import EXACT_SAMPLES, Samples, samples_of
from gcc.deploy.runtime_names import FORMATS, format_names
from gcc.deploy.runtimes import program_errors
from gcc.deploy.translate import ignore
from gcc.errors import GccError, OutputError, PluginError, suggestion
from gcc.models.modules import without_autocast
from gcc.registry import RUNTIMES, Inputs, Runtime
from gcc.registry.runtime import Precision
from gcc.utils.arguments import checked_arguments
from gcc.utils.files import replacing_all


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
    report: Callable[[str], None] = ignore,
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
            one sample at a time; the others accept all inputs that the generator accepts. `litert-gpu` and `ncnn-vulkan` write files
            for LiteRT and ncnn that use only layers with a GPU implementation. Without such a GPU, outputs are compared on the CPU.
        precision: precision of weights and features: `fp16` for ONNX, OpenVINO, ncnn and Core ML, `int8` for ONNX, OpenVINO and LiteRT.
        size: size of images, a width and a height or one number for both, for formats that accept one size, and for timings; None means the
            size that costs refer to.
        calibration: folder of input images, which keep their sizes unless the file accepts one size. Every second image is used to
            measure the ranges for int8, and the others to measure the loss of quality. None means the data of the generator's run at the
            size of training, or noise if the generator takes noise. In float32, a few of them are compared, if there are any.
        max_loss: the largest `Loss.drop` of a lower precision, in dB, such as 0.2; None accepts any. For `int8`, the layers that lose most
            stay in float32, as few as possible.
        report: receives a line for each measurement of the search for these layers, and a line if no images can be compared.
        factory: returns the full generator, such as its class, if the generator is your own; see `gcc.load`.

    Raises:
        GccError: the generator or the images cannot be read, a package is missing, the output cannot be written, the format cannot
            express the generator, the file computes something else, or lower precision loses more than `max_loss`.
    """
    runtime = _runtime(format, precision)
    runtime.require()
    _require_measurable(runtime, format, precision, calibration, max_loss)
    artifact = single_generator(read(Path(student), factory=factory))
    path = _default_path(student, artifact, runtime, precision) if out is None else Path(out)
    files = _files(path, artifact, runtime)
    network = artifact.network()
    accepted = accepted_inputs(network, artifact.example_input())
    if size is not None:
        accepted = replace(accepted, shape=accepted.checked_shape(*width_and_height(size)))
    inputs = runtime.accepts(accepted)
    guide = Guide(artifact, inputs, runtime)
    samples = _samples(artifact, inputs, runtime, precision, calibration, report)
    example = random_input((1, *inputs.shape))
    writer = FileWriter(runtime, network, fold(network, example), inputs, guide.metadata(), samples, max_loss, report)
    with replacing_all(files) as fresh, TemporaryDirectory() as scratch:
        with program_errors(runtime):
            written = writer.write(fresh / path.name, precision, Path(scratch))
        modules = {"before": network} | (written.modules if runtime.is_timed else {})
        latencies = dict(zip(modules, measure_in_turns([*modules.values()], example), strict=True))
    exported = Exported(
        path,
        files,
        runtime=runtime.title,
        gpu=runtime.gpu,
        inputs=inputs,
        precision=precision,
        comparison=written.comparison,
        before=latencies["before"],
        after=latencies.get("after"),
        exact=latencies.get("exact"),
        loss=written.loss,
        in_float32=written.in_float32,
        feeding=guide.facts(),
    )
    return replace(exported, guides=guide.write(path, {"precision": precision} | exported.measured()))


def _default_path(student: str | Path, artifact: Artifact, runtime: Runtime, precision: Precision) -> Path:
    """Return the file beside the generator's folder, or here for a generator on the Hub; its name includes a lower precision."""
    suffix = runtime.suffixes[0] if precision == "fp32" else f".{precision}{runtime.suffixes[0]}"
    return default_output(Path(student) if is_address(student) else artifact.folder, suffix)


def _require_measurable(
    runtime: Runtime, format: str, precision: Precision, calibration: str | Path | None, max_loss: float | None
) -> None:
    """Check that a limit of the loss, and images to measure it on, apply."""
    if max_loss is not None and not max_loss > 0:
        raise GccError(f"`max_loss={max_loss}`: expected a number of dB above 0")
    if max_loss is not None and precision == "fp32":
        raise GccError(f'`max_loss={max_loss}` limits what lower precision costs: give `precision="fp16"` or `precision="int8"`, too')
    if (max_loss is not None or calibration is not None) and not runtime.runs_here and precision != "int8":
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
    if precision != "int8" and not runtime.runs_here:
        return None
    if precision != "fp32" or calibration is not None:
        return samples_of(artifact, inputs, calibration)
    try:
        return samples_of(artifact, inputs, None, most=EXACT_SAMPLES)
    except GccError as error:
        report(f"compared on noise, not on images: {error}")
        return None


def _runtime(format: str, precision: Precision) -> Runtime:
    """Return the runtime of a format, which must have the precision."""
    name = FORMATS.get(format, format)
    if name not in RUNTIMES.names():
        raise GccError(f"format {format!r} is unknown{suggestion(format, format_names())}")
    runtime = RUNTIMES.load(name)()
    if precision not in runtime.precisions:
        others = ", ".join(other for other, program in _formats() if precision in program.precisions)
        raise GccError(f'`precision="{precision}"` is not available for {format}: use a format that has it ({others})')
    return runtime


def _files(path: Path, artifact: Artifact, runtime: Runtime) -> list[Path]:
    """Return the files of an output path; refuse another suffix, files of saved generators, and files that an export did not write."""
    first, *_ = runtime.suffixes
    if not path.name.endswith(first):
        suffixes = ((form, program.suffixes[0]) for form, program in _formats())
        form, suffix = next((known for known in suffixes if path.name.endswith(known[1])), ("", path.suffix))
        other = f', or `format="{form}"`' if form else ""
        expected = path.with_name((path.name.removesuffix(suffix) or path.name) + first)
        raise OutputError(f"{path} does not have the suffix of the format: expected a file such as {expected}{other}")
    files = [path.with_name(path.name.removesuffix(first) + suffix) for suffix in runtime.suffixes]
    for file in files:
        folder = file.resolve().parent
        if file.exists() and (folder == artifact.folder.resolve() or (file.name in SHARED and (folder / CONFIG).exists())):
            raise OutputError(f"{file} is part of a saved generator: choose another `out`")
        if file.exists() and file.is_dir() != runtime.folder:
            raise OutputError(f"{file} is a {'folder' if file.is_dir() else 'file'}: choose another `out`")
        if file.exists() and not path.exists():
            raise OutputError(f"{file} exists without {path.name}, so it may be another program's: move it, or choose another `out`")
    return files


def _formats() -> Iterator[tuple[str, type[Runtime]]]:
    """Yield the formats of working plugins and their runtimes."""
    for name in format_names():
        with suppress(PluginError):
            yield name, RUNTIMES.load(FORMATS.get(name, name))

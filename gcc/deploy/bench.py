"""Benchmarks saved generators: latency, throughput and memory in each runtime."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcc.artifacts.config import Artifact, Factory
from gcc.artifacts.model import environment, read, single_generator
from gcc.deploy.inputs import accepted_inputs, random_input, width_and_height
from gcc.deploy.latency import Latency, measure_in_turns, where_in
from gcc.deploy.runtime_names import require_runtime_name, runtime_names
from gcc.deploy.runtimes import device_of, inputs_in_runtime, load_in_runtime, require_runtime
from gcc.errors import GccError
from gcc.models.modules import evaluating
from gcc.registry import Inputs
from gcc.utils.arguments import checked_arguments
from gcc.utils.files import require_replaceable, write_text
from gcc.utils.json_text import json_text
from gcc.utils.units import shape_text

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass(frozen=True)
class Timing:
    """One generator on one input shape in one runtime.

    Attributes:
        generator: folder or address of the generator, as it was given.
        runtime: `cpu`, `cuda`, or a plugin's name, such as `onnxruntime`.
        shape: shape of the input, (N, ...).
        latency: latency of one pass of all N samples.
        memory: peak memory during a pass in bytes: of the process, including torch itself, or of tensors on a GPU; None if the system
            does not report it.
        is_reference: whether the generator is the one that the other is compared with.
    """

    generator: str
    runtime: str
    shape: tuple[int, ...]
    latency: Latency
    memory: int | None
    is_reference: bool = False

    @property
    def device(self) -> str:
        """The runtime, and what it computed on."""
        where = where_in(self.runtime, self.latency)
        return where if self.runtime == "cpu" else f"{self.runtime} ({where})"

    @property
    def throughput(self) -> float:
        """Samples per second."""
        return 1e3 * self.shape[0] / self.latency.median_ms


@checked_arguments
def bench(
    student: str | Path,
    against: str | Path | None = None,
    *,
    batch_sizes: Sequence[int] = (1,),
    sizes: Sequence[int | tuple[int, int]] = (),
    runtimes: Sequence[str] = ("cpu",),
    factory: Factory | None = None,
) -> Iterator[Timing]:
    """Return timings of a saved generator in each runtime for each image size and batch size, optimised by `gcc.optimize`.

    The arguments are checked at once; each timing is measured when the iterator reaches it.

    Args:
        student: folder of the saved generator.
        against: folder of another generator, such as its teacher, which is timed in turns with it.
        batch_sizes: numbers of samples.
        sizes: sizes of images, each a width and a height or one number for both; empty means the size that costs refer to.
        runtimes: names of runtimes: `cpu`, `cuda`, and those that `gcc list` shows, such as `onnxruntime`.
        factory: returns the full generator, such as its class, for each generator that is your own; see `gcc.load`.

    Raises:
        GccError: a generator cannot be read or does not accept an input, the two generators take different inputs, or this machine lacks a
            device or a package.
    """
    if not runtimes:
        raise GccError(f"no device: name some of {', '.join(runtime_names())}")
    for runtime in runtimes:
        require_runtime_name(runtime)
        require_runtime(runtime)
    pairs = [width_and_height(size) for size in sizes]
    if not batch_sizes or any(number < 1 for number in (*batch_sizes, *chain(*pairs))):
        raise GccError(f"batch sizes {[*batch_sizes]}, sizes {[*sizes]}: expected numbers from 1 up")
    locations = [location for location in (against, student) if location is not None]
    artifacts = _read_each(locations, factory)
    subjects = [_subject(str(location), artifact, pairs) for location, artifact in zip(locations, artifacts, strict=True)]
    for other in subjects[1:]:
        _require_same_inputs(subjects[0], other, pairs)
    accepted = {runtime: [inputs_in_runtime(runtime, one.inputs, batch_sizes) for one in subjects] for runtime in runtimes}
    return chain.from_iterable(_timings(subjects, runtime, accepted[runtime], batch_sizes) for runtime in runtimes)


@dataclass(frozen=True)
class _Subject:
    """A generator that is timed.

    Attributes:
        name: its folder or address, as it was given.
        network: the generator.
        inputs: the inputs that it accepts.
        shapes: shapes of the inputs that it is timed on, without the batch.
    """

    name: str
    network: nn.Module
    inputs: Inputs
    shapes: list[tuple[int, ...]]


def _subject(name: str, artifact: Artifact, sizes: Sequence[tuple[int, int]]) -> _Subject:
    """Return a saved generator with the inputs of these sizes, or of the size that costs refer to if there are none."""
    network = artifact.network()
    inputs = accepted_inputs(network, artifact.example_input())
    return _Subject(name, network, inputs, [inputs.checked_shape(*size) for size in sizes] or [inputs.shape])


def _require_same_inputs(reference: _Subject, other: _Subject, sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse two generators that would be timed on different inputs."""
    if other.shapes == reference.shapes:
        return
    taken = " and ".join(f"{one.name} takes {shape_text(one.shapes[0])}" for one in (other, reference))
    has_other_inputs = bool(sizes) or len(other.inputs.shape) != len(reference.inputs.shape)
    remedy = "leave out `against`" if has_other_inputs else "give `sizes` that both accept"
    raise GccError(f"times on different inputs cannot be compared, and {taken}: {remedy}")


def _timings(subjects: Sequence[_Subject], runtime: str, accepted: Sequence[Inputs], batch_sizes: Sequence[int]) -> Iterator[Timing]:
    """Yield timings in one runtime, of all generators in turns, for each shape and batch size; `accepted` are its files' inputs."""
    device = device_of(runtime)
    ready: list[nn.Module] = []
    for shape in subjects[0].shapes:
        if not ready or any(inputs.step is None for inputs in accepted):
            ready = [load_in_runtime(one.network, torch.zeros(1, *shape), runtime) for one in subjects]
        for batch in batch_sizes:
            example = random_input((batch, *shape)).to(device)
            memory = [_memory_of_pass(network, example, device) for network in ready]
            latencies = measure_in_turns(ready, example)
            for one, latency, used in zip(subjects, latencies, memory, strict=True):
                yield Timing(one.name, runtime, tuple(example.shape), latency, used, is_reference=one is not subjects[-1])


def _read_each(locations: Sequence[str | Path], factory: Factory | None) -> list[Artifact]:
    """Return the generator that is saved in each folder. The factory makes those that are the user's own.

    Raises:
        GccError: a generator cannot be read, or none needs the factory that is given.
    """
    artifacts = [single_generator(read(Path(location))) for location in locations]
    if factory is None:
        return artifacts
    needs = [artifact.needs_factory for artifact in artifacts]
    pairs = zip(locations, artifacts, needs, strict=True)
    # If none needs the factory, `read` refuses it.
    return [single_generator(read(Path(one), factory=factory)) if own or not any(needs) else artifact for one, artifact, own in pairs]


def rows(timings: Sequence[Timing]) -> list[dict[str, Any]]:
    """Return timings as plain values.

    `speed_up` is the reference's latency on the same input in the same runtime over this latency; None for the reference, or without one.
    """
    references = {(timing.runtime, timing.shape): timing.latency.median_ms for timing in timings if timing.is_reference}
    return [
        {
            "generator": timing.generator,
            "runtime": timing.runtime,
            "device": timing.device,
            "input": list(timing.shape),
            "median_ms": timing.latency.median_ms,
            "p90_ms": timing.latency.p90_ms,
            "samples_per_second": timing.throughput,
            "memory": timing.memory,
            "speed_up": references[timing.runtime, timing.shape] / timing.latency.median_ms
            if not timing.is_reference and (timing.runtime, timing.shape) in references
            else None,
        }
        for timing in timings
    ]


def require_own_timings(path: Path) -> None:
    """Refuse a path for `save_rows` that is a folder, lies below a file, or is a file with other contents.

    Raises:
        OutputError: it is one of these.
    """
    require_replaceable(path, _holds_timings, "timings")


def _holds_timings(path: Path) -> bool:
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(contents, dict) and contents.keys() == {"environment", "timings"}


def save_rows(path: Path, timings: Sequence[Mapping[str, Any]]) -> None:
    """Write the output of `rows` as JSON, with the device and the versions of packages.

    Raises:
        OutputError: the file cannot be written.
    """
    last = device_of(timings[-1]["runtime"])
    write_text(path, json_text({"environment": environment(last), "timings": timings}, indent=2) + "\n")


def _memory_of_pass(network: nn.Module, example: Tensor, device: torch.device) -> int | None:
    """Return the peak memory of a pass in bytes; see `Timing.memory`."""
    _reset_peak_memory(device)
    with torch.inference_mode(), evaluating(network):
        network(example)
    return _peak_memory(device)


def _reset_peak_memory(device: torch.device) -> None:
    """Reset the peak to the memory in use."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif CLEAR.exists():
        CLEAR.write_text("5")


def _peak_memory(device: torch.device) -> int | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if not CLEAR.exists():
        return None
    (line,) = [line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1])

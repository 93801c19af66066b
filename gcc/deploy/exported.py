"""An exported generator: its files, and how they compare with PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gcc.artifacts.comparison import spread_note
from gcc.deploy.latency import Latency
from gcc.deploy.quality import Loss
from gcc.registry import Inputs
from gcc.registry.runtime import Precision
from gcc.utils.units import shape_text


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

    def __str__(self) -> str:
        """Describe the error."""
        shapes = ", ".join(shape_text(trial) for trial in self.trials)
        return f"{self.error:.2g} against PyTorch, with outputs up to {self.reach:.2g}; on noise of {shapes}"


@dataclass(frozen=True)
class Exported:
    """An exported generator.

    Attributes:
        path: the file, or the first of several.
        files: all files.
        runtime: the program that runs it.
        gpu: the GPU on which it was timed; None for programs on the CPU.
        inputs: the inputs that it accepts.
        precision: precision of weights and features.
        comparison: comparison of the outputs with PyTorch's; None if the program does not run on this system.
        before: latency of the generator in PyTorch, as `gcc.load` returns it, for one example.
        after: latency of the file in its runtime; None if this machine lacks the program or its device.
        exact: for a file in lower precision, latency of the same file in float32; otherwise None.
        loss: loss of quality against PyTorch in float32, on images; None if there were no images, or the program does not run here.
        in_float32: names of the layers of an int8 file that stayed in float32.
        feeding: names, layout, range, colours, sizes and the resize of inputs and outputs, by title; also the file's metadata.
        guides: the README and the script that are written next to the file.
    """

    path: Path
    files: Sequence[Path]
    runtime: str
    gpu: str | None
    inputs: Inputs
    precision: Precision
    comparison: Comparison | None
    before: Latency
    after: Latency | None
    exact: Latency | None
    loss: Loss | None
    in_float32: Sequence[str]
    feeding: Mapping[str, str]
    guides: Sequence[Path] = ()

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
            **self.measured(),
            **({"in float32": ", ".join(self.in_float32) or "no layer"} if self.precision == "int8" else {}),
        }

    def measured(self) -> dict[str, str]:
        """Return what was measured, by title."""
        shape = shape_text((1, *self.inputs.shape))
        in_torch = {"PyTorch": f"{_times(self.before)} on {shape}, {self.before.where}"}
        if self.comparison is None:
            return in_torch | {self.runtime: "not run: it does not run on this system, so outputs and times were not compared"}
        facts = {"largest error": str(self.comparison)} | in_torch
        if self.after is None:
            facts[self.runtime] = "not timed on this system: outputs were compared on the CPU"
        else:
            others = {"PyTorch": self.before} | ({"in fp32": self.exact} if self.exact else {})
            busy = spread_note((latency.median_ms, latency.p90_ms) for latency in (self.after, *others.values()))
            ratio = busy or ", ".join(f"{other.median_ms / self.after.median_ms:.2f}x as fast as {name}" for name, other in others.items())
            facts |= {f"{self.runtime}, fp32": _times(self.exact)} if self.exact else {}
            facts[self.runtime] = f"{_times(self.after)}{f' on {self.gpu}' if self.gpu else ''}, {ratio}"
        if self.loss:
            facts["quality"] = str(self.loss) if self.precision == "fp32" else f"{self.loss}; images unlike these may lose more"
        return facts


def _bytes_of(path: Path) -> int:
    return sum(part.stat().st_size for part in path.rglob("*") if part.is_file()) if path.is_dir() else path.stat().st_size


def _times(latency: Latency) -> str:
    return f"{latency.median_ms:.2f} ms (p90 {latency.p90_ms:.2f})"

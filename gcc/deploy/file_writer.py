"""Writes a generator to files of another program, and compares these with PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from gcc.deploy.exported import Comparison
from gcc.deploy.inputs import random_input
from gcc.deploy.mixed_precision import quantize_within
from gcc.deploy.optimize import TOLERANCE
from gcc.deploy.quality import Loss, QualityMeter, Samples
from gcc.errors import GccError
from gcc.models.modules import require_finite
from gcc.registry import Inputs, QuantizingRuntime, Runtime
from gcc.registry.runtime import Precision


@dataclass(frozen=True)
class WrittenFiles:
    """Files that were written.

    Attributes:
        exported: the module that runs them; None if the program does not run on this system.
        exact: the module that runs the same files in float32, if `exported` has lower precision.
        comparison: of that module with PyTorch.
        loss: of quality, on images.
        in_float32: names of the layers that stayed in float32.
    """

    exported: nn.Module | None
    exact: nn.Module | None
    comparison: Comparison | None
    loss: Loss | None
    in_float32: Sequence[str] = ()

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The modules that run here: `after` those of the precision, and `exact` those in float32 if that is another one."""
        return {name: module for name, module in (("after", self.exported), ("exact", self.exact)) if module is not None}


@dataclass(frozen=True)
class FileWriter:
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

    def write(self, path: Path, precision: Precision, scratch: Path) -> WrittenFiles:
        """Write the files in a precision. Those of a lower one are made only if the ones in float32 equal the generator.

        Args:
            path: the first file.
            precision: the precision.
            scratch: a folder for the files in float32 if the precision is lower; `WrittenFiles.exact` reads them.

        Raises:
            GccError: the files in float32 compute something else, no layer can be in int8, or the loss is above `max_loss`.
        """
        exact_path = path if precision == "fp32" else scratch / path.name
        exact = self._write(exact_path)
        comparison = _compare(self.network, exact, self.inputs)
        if comparison:
            _require_equal(comparison.error, comparison.reach, "noise")
        meter = QualityMeter(self.network, self.samples) if self.samples and exact else None
        if precision == "fp32":
            loss = meter.measure(exact) if meter and exact else None
            if loss and meter:
                _require_equal(loss.error, meter.reach, loss.samples)
            return WrittenFiles(exact, None, comparison, loss)
        in_float32: Sequence[str] = ()
        if precision == "int8":
            in_float32 = self._quantize(exact_path, path, meter)
            exported = self._read(path)
        else:
            exported = self._write(path, precision)
        loss = meter.measure(exported) if meter and exported else None
        if loss and self.max_loss is not None and loss.drop > self.max_loss:
            raise GccError(
                f"{precision} costs {loss.drop:.3f} dB, more than {self.max_loss:g} dB: allow a larger `max_loss`, or use float32"
            )
        return WrittenFiles(exported, exact, _compare(self.network, exported, self.inputs), loss, in_float32)

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


def _require_equal(error: float, reach: float, inputs: str) -> None:
    """Check that the error of a file in float32 is that of rounding."""
    if not error <= TOLERANCE * reach:
        raise GccError(f"the file differs by {error:.2g} from PyTorch, with outputs up to {reach:.2g}, on {inputs}: nothing was written")


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
            require_finite(expected)
            if not output.isfinite().all():
                raise GccError(f"for inputs {shape} the file returns NaN or infinity, and PyTorch does not: nothing was written")
            error, reach = max(error, float((expected - output).abs().max())), max(reach, float(expected.abs().max()))
    return Comparison(shapes, error, reach)

"""int8 within a loss of quality: the layers that cost most stay in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from gcc.deploy.quality import Loss, Samples
from gcc.errors import GccError
from gcc.registry import QuantizingRuntime
from gcc.utils.units import counted


def quantize_within(
    runtime: QuantizingRuntime,
    exact: Path,
    path: Path,
    samples: Samples,
    measure: Callable[[Path], Loss] | None,
    max_loss: float | None,
    report: Callable[[str], None],
) -> list[str]:
    """Write a generator in int8, with the fewest of the most costly layers in float32 that keep the loss small, and return these.

    If int8 in all layers costs too much, every layer is quantised alone, to rank the layers by what each costs; bisection then finds how
    many of the most costly ones must stay in float32.

    Args:
        runtime: the program.
        exact: the file in float32 that the runtime quantises.
        path: the first file to write.
        samples: inputs that the ranges are measured on.
        measure: returns the loss of a file; None if the program does not run on this system.
        max_loss: the largest `Loss.drop`, in dB; None accepts any, and so does a program that does not run here.
        report: called with a line for each measurement.

    Raises:
        GccError: the loss is larger even if all layers but one stay in float32.
    """
    if max_loss is None or measure is None:
        runtime.quantize(exact, path, samples.calibration, [])
        return []

    def quantize(target: Path, keep: list[str]) -> float:
        runtime.quantize(exact, target, samples.calibration, keep)
        return measure(target).drop

    loss = quantize(path, [])
    if loss <= max_loss:
        return []
    layers = runtime.layers(exact)
    report(f"int8 in all {len(layers)} layers costs {loss:z.3f} dB, more than {max_loss:g} dB: measuring each layer")
    with TemporaryDirectory() as folder:
        trial, costs = Path(folder) / path.name, {}
        for number, layer in enumerate(layers, 1):
            costs[layer] = quantize(trial, [other for other in layers if other != layer])
            report(f"{number} of {len(layers)}: {layer} alone costs {costs[layer]:z.3f} dB")
        ranked = sorted(layers, key=lambda layer: costs[layer], reverse=True)
        fewest, most = 1, len(ranked)
        while fewest < most:
            middle = (fewest + most) // 2
            loss = quantize(trial, ranked[:middle])
            report(f"with {counted(middle, 'layer')} in float32 it costs {loss:z.3f} dB")
            fewest, most = (fewest, middle) if loss <= max_loss else (middle + 1, most)
    if fewest == len(ranked):
        least = f"{min(costs.values()):z.3f} dB at least"
        raise GccError(f"int8 costs more than {max_loss:g} dB with any layer in int8 ({least}): allow a larger `max_loss`")
    quantize(path, ranked[:fewest])
    return ranked[:fewest]

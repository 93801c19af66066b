"""Converts ONNX files to lower precision with ONNX Runtime's tools."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from gcc.utils.optional import needed
from gcc.utils.silence import silenced

FEATURE = "lower precision"
LAYERS = ("Conv", "ConvTranspose", "MatMul", "Gemm")
"""The operators that compute in int8. Others, such as norms and sums, would lose quality and save no time."""


def to_fp16(path: Path) -> None:
    """Convert weights and features of an ONNX file to float16; inputs and outputs stay float32.

    Raises:
        GccError: ONNX Runtime is not installed.
    """
    with needed(FEATURE, "onnxruntime", "export"):
        import onnx
        from onnxruntime.transformers.float16 import convert_float_to_float16
    onnx.save(convert_float_to_float16(onnx.load(str(path)), keep_io_types=True), str(path))


def layers_of(path: Path) -> list[str]:
    """Return the names of the layers of an ONNX file, in the order in which they run."""
    with needed(FEATURE, "onnx", "export"):
        import onnx
    return [node.name for node in onnx.load(str(path)).graph.node if node.op_type in LAYERS]


def metadata_of(path: Path) -> dict[str, str]:
    """Return the metadata of an ONNX file."""
    with needed(FEATURE, "onnx", "export"):
        import onnx
    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


def to_int8(source: Path, target: Path, samples: Iterable[Tensor], keep: Sequence[str]) -> None:
    """Write the ONNX file `source` with its layers in int8 (static quantisation, one scale per output channel of a weight).

    Args:
        source: the file in float32.
        target: the file to write.
        samples: inputs (1, ...) that the ranges of all features are measured on.
        keep: names of layers that stay in float32.

    Raises:
        GccError: ONNX Runtime is not installed.
    """
    with needed(FEATURE, "onnxruntime", "export"):
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.inputs = ({"input": sample.numpy()} for sample in samples)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.inputs, None)

    with TemporaryDirectory() as folder, silenced():
        prepared = Path(folder) / "prepared.onnx"
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(LAYERS),
            nodes_to_exclude=list(keep),
            per_channel=True,
        )

"""OpenVINO's files, for Intel's processors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from gcc.deploy.formats.graph import CallableModule, decomposed_graph, ignore_torch_deprecations
from gcc.deploy.formats.onnx import ONNX
from gcc.deploy.quantize import layers_of, metadata_of, to_int8
from gcc.registry.runtime import Inputs, Precision, QuantizingRuntime
from gcc.utils.optional import needed

if TYPE_CHECKING:
    import openvino

EXTRA = "OpenVINO", "openvino", "openvino"


class OpenVINO(QuantizingRuntime):
    """Two files, of the graph and of the weights, with the input `input` and the output `output`.

    In int8, they are those of an ONNX file that ONNX Runtime has quantised.
    """

    title = "OpenVINO"
    suffixes = (".xml", ".bin")
    names = "input", "output"
    package = "openvino"
    imports = "import openvino"
    precisions = ("fp32", "fp16", "int8")
    script = """\
compiled = openvino.Core().compile_model(FILE, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

def run(inputs):
    return compiled(inputs)[0]

return run"""

    def require(self) -> None:
        with needed(*EXTRA):
            import openvino  # noqa: F401 - only checks that it is installed

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        with needed(*EXTRA):
            import openvino
        with ignore_torch_deprecations():
            model = openvino.convert_model(decomposed_graph(network, inputs))
        # The conversion may forget which sizes are fixed.
        fixed = inputs.shape if inputs.step is None else (inputs.shape[0], -1, -1)
        model.reshape({model.inputs[0]: [1 if inputs.one_sample else -1, *fixed]})
        for ports, name in ((model.inputs, "input"), (model.outputs, "output")):
            ports[0].get_tensor().set_names({name})
        _save(model, path, metadata, precision)

    def int8_source(self, exact: Path, network: nn.Module, inputs: Inputs, metadata: Mapping[str, str]) -> Path:
        source = exact.with_suffix(".onnx")
        ONNX().write(network, inputs, source, metadata)
        return source

    def layers(self, exact: Path) -> list[str]:
        return layers_of(exact)

    def quantize(self, exact: Path, path: Path, samples: Iterable[Tensor], keep: Sequence[str]) -> None:
        with needed(*EXTRA):
            import openvino
        with TemporaryDirectory() as folder:
            lower = Path(folder) / "int8.onnx"
            to_int8(exact, lower, samples, keep)
            _save(openvino.convert_model(lower), path, metadata_of(exact), "int8")

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        with needed(*EXTRA):
            import openvino
        # By default, OpenVINO computes in bfloat16 or float16 where the processor can.
        hints = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads(), "PERFORMANCE_HINT": "LATENCY"}
        compiled = openvino.Core().compile_model(path, "CPU", hints)

        def run(inputs: Tensor) -> Tensor:
            return torch.from_numpy(compiled(inputs.numpy())[0])

        return CallableModule(run)


def _save(model: openvino.Model, path: Path, metadata: Mapping[str, str], precision: Precision) -> None:
    import openvino

    for key, text in metadata.items():
        model.set_rt_info(text, ["gcc", key])
    openvino.save_model(model, path, compress_to_fp16=precision == "fp16")

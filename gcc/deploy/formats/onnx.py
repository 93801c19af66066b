"""ONNX files, which ONNX Runtime and many other programs run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gcc.deploy.formats.graph import CallableModule, export_graph, ignore_torch_deprecations
from gcc.deploy.quantize import layers_of, to_fp16, to_int8
from gcc.registry.runtime import Inputs, Precision, QuantizingRuntime
from gcc.utils.optional import needed


class ONNX(QuantizingRuntime):
    """One file with the input `input` and the output `output`."""

    title = "ONNX Runtime"
    suffixes = (".onnx",)
    names = "input", "output"
    package = "onnxruntime"
    imports = "import onnxruntime"
    precisions = ("fp32", "fp16", "int8")
    script = """\
session = onnxruntime.InferenceSession(str(FILE), providers=["CPUExecutionProvider"])

def run(inputs):
    return session.run(["output"], {"input": inputs})[0]

return run"""

    def require(self) -> None:
        with needed("ONNX", "onnx, onnxscript and onnxruntime", "export"):
            import onnx  # noqa: F401 - only checks that it is installed
            import onnxruntime  # noqa: F401
            import onnxscript  # noqa: F401

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        self.require()
        with ignore_torch_deprecations():
            program = torch.onnx.export(export_graph(network, inputs), input_names=["input"], output_names=["output"], verbose=False)
        assert program is not None
        program.model.metadata_props.update(metadata)
        program.save(str(path), external_data=False)
        if precision == "fp16":
            to_fp16(path)

    def layers(self, exact: Path) -> list[str]:
        return layers_of(exact)

    def quantize(self, exact: Path, path: Path, samples: Iterable[Tensor], keep: Sequence[str]) -> None:
        to_int8(exact, path, samples, keep)

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        with needed("an ONNX file", "onnxruntime", "export"):
            import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        def run(inputs: Tensor) -> Tensor:
            (fake,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
            return torch.from_numpy(fake)

        return CallableModule(run)

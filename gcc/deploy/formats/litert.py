"""LiteRT's files (TensorFlow Lite), for Android and small devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from gcc.deploy.formats.graph import CallableModule, contiguous
from gcc.deploy.formats.litert_int8 import layers_of, to_int8
from gcc.deploy.formats.rewrites import instance_norm_as_means, prelu_as_leaky, rewritten, transposed_as_plain
from gcc.registry.runtime import Inputs, Precision, QuantizingRuntime
from gcc.utils.optional import needed
from gcc.utils.silence import silenced

EXTRA = "LiteRT", "litert-torch", "litert"


class LiteRT(QuantizingRuntime):
    """One file for inputs of one shape, one sample at a time."""

    title = "LiteRT"
    suffixes = (".tflite",)
    package = "ai-edge-litert"
    imports = "from ai_edge_litert.interpreter import Interpreter"
    precisions = ("fp32", "int8")
    holds_metadata = False
    script = """\
interpreter = Interpreter(str(FILE))
interpreter.allocate_tensors()
(taken,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()

def run(inputs):
    interpreter.set_tensor(taken["index"], inputs)
    interpreter.invoke()
    return interpreter.get_tensor(returned["index"])

return run"""

    def require(self) -> None:
        with needed(*EXTRA), silenced():
            import litert_torch  # noqa: F401 - only checks that it is installed

    def accepts(self, inputs: Inputs) -> Inputs:
        return Inputs(inputs.shape, one_sample=True)

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        with needed(*EXTRA), silenced():
            import litert_torch
        # The converter stores the weights of one layer for another if they are not contiguous.
        plain = rewritten(contiguous(network), transposed_as_plain, instance_norm_as_means, prelu_as_leaky)
        with silenced():
            litert_torch.convert(plain.eval(), (torch.zeros(1, *inputs.shape),)).export(str(path))

    def layers(self, exact: Path) -> list[str]:
        return layers_of(exact)

    def quantize(self, exact: Path, path: Path, samples: Iterable[Tensor], keep: Sequence[str]) -> None:
        to_int8(exact, path, samples, keep)

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        with needed("a LiteRT file", "ai-edge-litert", "litert"):
            from ai_edge_litert.interpreter import Interpreter
        with silenced():
            interpreter = Interpreter(str(path), num_threads=torch.get_num_threads())
            interpreter.allocate_tensors()
        (taken,), (returned,) = interpreter.get_input_details(), interpreter.get_output_details()

        def run(inputs: Tensor) -> Tensor:
            interpreter.set_tensor(taken["index"], inputs.numpy())
            interpreter.invoke()
            return torch.from_numpy(interpreter.get_tensor(returned["index"]))

        return CallableModule(run)

"""LiteRT's files for its GPU delegate."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcc.deploy.formats.graph import CallableModule
from gcc.deploy.formats.litert import LiteRT
from gcc.errors import GccError
from gcc.registry.runtime import Inputs, Precision
from gcc.utils.optional import needed
from gcc.utils.silence import silenced
from gcc.utils.templates import render

OPERATORS = {
    "ABS", "ADD", "ADD_N", "ATAN2", "AVERAGE_POOL_2D", "BATCH_MATMUL", "CEIL", "CONCATENATION", "CONV_2D", "COS", "CUMSUM",
    "DEPTHWISE_CONV_2D", "DEPTH_TO_SPACE", "DEQUANTIZE", "DIV", "ELU", "EQUAL", "EXP", "FLOOR", "FLOOR_DIV", "FLOOR_MOD",
    "FULLY_CONNECTED", "GELU", "GREATER", "GREATER_EQUAL", "HARD_SWISH", "LEAKY_RELU", "LESS", "LESS_EQUAL", "LOG", "LOGICAL_AND",
    "LOGICAL_NOT", "LOGICAL_OR", "LOGISTIC", "MAXIMUM", "MAX_POOL_2D", "MEAN", "MINIMUM", "MIRROR_PAD", "MUL", "NEG", "NOT_EQUAL",
    "PACK", "PAD", "PADV2", "POW", "PRELU", "QUANTIZE", "REDUCE_MAX", "REDUCE_MIN", "REDUCE_PROD", "RELU", "RELU6",
    "RELU_N1_TO_1", "RESHAPE", "RESIZE_BILINEAR", "RESIZE_NEAREST_NEIGHBOR", "REVERSE_V2", "ROUND", "RSQRT", "SELECT",
    "SELECT_V2", "SIGN", "SIN", "SLICE", "SOFTMAX", "SPACE_TO_DEPTH", "SPLIT", "SPLIT_V", "SQRT", "SQUARE", "SQUARED_DIFFERENCE",
    "STRIDED_SLICE", "SUB", "SUM", "TANH", "TILE", "TRANSPOSE", "TRANSPOSE_CONV",
}  # fmt: skip
"""Operators on images that the delegate has, by `CheckGpuDelegateCompatibility` in `tflite/tools/versioning/gpu_compatibility.cc` of
google-ai-edge/LiteRT, commit 007226f. For some of them it also has conditions on shapes, which only the delegate checks."""
DIMENSIONS = 4
"""The most dimensions of a tensor on the GPU (`ExtractTensorShape` in `tflite/delegates/gpu/common/model_builder_helper.cc`)."""


class LiteRTGPU(LiteRT):
    """The same file as LiteRT's, if its GPU delegate has every operator. It runs on a GPU if there is one, else on the CPU."""

    title = "LiteRT on a GPU"
    on_gpu = True

    @property
    def gpu(self) -> str | None:
        # The delegate names it in its log alone.
        return "GPU" if _has_gpu() else None

    def example(self, files: Sequence[str], inputs: Inputs, multiple: int | None, output_channels: int) -> str:
        return render("gcc.deploy", "litert_gpu.md.j2")

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        super().write(network, inputs, path, metadata, precision)
        _require_gpu_operators(path)

    def quantize(self, exact: Path, path: Path, samples: Iterable[Tensor], keep: Sequence[str]) -> None:
        super().quantize(exact, path, samples, keep)
        _require_gpu_operators(path)

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        return super().read(path, network) if self.gpu is None else _on_gpu(path)


@cache
def _has_gpu() -> bool:
    """Return whether the delegate finds a GPU, by a file of one convolution."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "probe.tflite"
        LiteRT().write(nn.Conv2d(1, 1, 1), Inputs((1, 8, 8), one_sample=True), path, {})
        try:
            _on_gpu(path)
        except GccError:
            return False
    return True


def _on_gpu(path: Path) -> nn.Module:
    """Return a module that runs a file on the GPU, in float32."""
    with needed("a LiteRT file", "ai-edge-litert", "litert"):
        from ai_edge_litert.compiled_model import CompiledModel, GpuOptions, HardwareAccelerator, Options
    options = Options(hardware_accelerators=HardwareAccelerator.GPU, gpu_options=GpuOptions(enforce_f32=True))
    buffers: list[Any] = []
    with silenced(), suppress(RuntimeError):
        model = CompiledModel.from_file(str(path), options=options)
        buffers += [*model.create_input_buffers(0), *model.create_output_buffers(0)]
    if not buffers:
        raise GccError('LiteRT cannot run this generator on the GPU of this system: choose `format="litert"`')
    ((signature, names),) = model.get_signature_list().items()
    takes, returns = (
        torch.Size(details(signature)[names[kind][0]]["shape"])
        for kind, details in (("inputs", model.get_input_tensor_details), ("outputs", model.get_output_tensor_details))
    )
    with silenced():
        # The first write of a process prints.
        buffers[0].write(np.zeros(takes.numel(), np.float32))

    def run(inputs: Tensor) -> Tensor:
        given, returned = buffers
        given.write(inputs.contiguous().numpy().ravel())
        model.run_by_index(0, [given], [returned])
        return torch.from_numpy(returned.read(returns.numel(), np.float32)).reshape(returns)

    module = CallableModule(run)
    weakref.finalize(module, _close, model, buffers)
    return module


def _close(model: Any, buffers: list[Any]) -> None:
    """Free a model of LiteRT, which prints, and crashes if Python frees its buffers last."""
    with silenced():
        buffers.clear()
        model.close()
        model.environment.close()


def _require_gpu_operators(path: Path) -> None:
    """Check that the delegate has all operators of a file, and takes the dimensions of their tensors."""
    with needed("a LiteRT file", "ai-edge-litert", "litert"):
        from ai_edge_litert.schema_py_generated import BuiltinOperator, Model
    model = Model.GetRootAs(path.read_bytes())
    names = {code: name for name, code in vars(BuiltinOperator).items()}
    codes = map(model.OperatorCodes, range(model.OperatorCodesLength()))
    # Small codes are in a field of their own, which is 127 for larger ones.
    lacking = sorted({names[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())] for code in codes} - OPERATORS)
    graph = model.Subgraphs(0)
    most = max(graph.Tensors(number).ShapeLength() for number in range(graph.TensorsLength()))
    if most > DIMENSIONS:
        lacking.append(f"tensors of {most} dimensions")
    if lacking:
        raise GccError(f'the GPU delegate of LiteRT lacks {", ".join(lacking)}: choose `format="litert"`, which runs on the CPU')

"""Core ML's packages, for Apple's devices."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gcc.deploy.formats.graph import CallableModule, decomposed_graph
from gcc.registry.runtime import Inputs, Precision, Runtime
from gcc.utils.optional import needed
from gcc.utils.silence import silenced

EXTRA = "Core ML", "coremltools", "coreml"


class CoreML(Runtime):
    """A package of an ML program with the input `input` and the output `output`, for inputs of one shape; runs on macOS alone."""

    title = "Core ML"
    suffixes = (".mlpackage",)
    folder = True
    names = "input", "output"
    precisions = ("fp32", "fp16")
    runs_here = sys.platform == "darwin"

    def require(self) -> None:
        with needed(*EXTRA), silenced():
            import coremltools  # noqa: F401 - only checks that it is installed

    def accepts(self, inputs: Inputs) -> Inputs:
        return Inputs(inputs.shape, one_sample=True)

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        with needed(*EXTRA), silenced():
            import coremltools
        with silenced():
            model = coremltools.convert(
                decomposed_graph(network, inputs),
                inputs=[coremltools.TensorType("input", (1, *inputs.shape))],
                outputs=[coremltools.TensorType("output")],
                minimum_deployment_target=coremltools.target.iOS16,
                compute_precision=coremltools.precision.FLOAT16 if precision == "fp16" else coremltools.precision.FLOAT32,
            )
            model.user_defined_metadata.update(metadata)
            model.save(str(path))

    def read(self, path: Path, network: nn.Module) -> nn.Module | None:
        if not self.runs_here:
            return None
        with needed(*EXTRA), silenced():
            import coremltools
        model = coremltools.models.MLModel(str(path))

        def run(inputs: Tensor) -> Tensor:
            return torch.from_numpy(model.predict({"input": inputs.numpy()})["output"])

        return CallableModule(run)

"""ncnn's files for GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from gcc.deploy.formats.ncnn import EXTRA, NCNN
from gcc.errors import GccError
from gcc.registry.runtime import Inputs, Precision
from gcc.utils.optional import needed
from gcc.utils.silence import silenced

MATMUL = re.compile(r"^MatMul( .*?)( 0=1)?$", re.MULTILINE)
"""A layer that multiplies two matrices; the second one is transposed if the parameter 0 is 1."""


class NCNNVulkan(NCNN):
    """ncnn's files, if a GPU with Vulkan runs every layer. They run on the GPU if there is one, else on the CPU."""

    title = "ncnn on a GPU"
    on_gpu = True
    script = NCNN.script.replace("net = ncnn.Net()\n", "net = ncnn.Net()\nnet.opt.use_vulkan_compute = True\n")

    @property
    def is_timed(self) -> bool:
        with needed(*EXTRA), silenced():
            import ncnn

            return bool(ncnn.get_gpu_count())

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        with needed(*EXTRA):
            import ncnn
        super().write(network, inputs, path, metadata, precision)
        graph = matmul_as_gemm(path.read_text())
        path.write_text(graph)
        # The layer Input computes nothing.
        kinds = sorted({line.split()[0] for line in graph.splitlines()[2:]} - {"Input"})
        with silenced():
            layers = {kind: ncnn.create_layer(kind) for kind in kinds}
        # `read` names the layers that ncnn lacks altogether.
        lacking = [kind for kind, layer in layers.items() if layer is not None and not layer.support_vulkan]
        if lacking:
            raise GccError(f'ncnn has no {", ".join(lacking)} for GPUs: choose `format="ncnn"`, which runs on the CPU')


def matmul_as_gemm(graph: str) -> str:
    """Replace products of two matrices, which ncnn has for CPUs alone, by a layer that computes the same.

    Args:
        graph: the text of a `.param` file.
    """
    # Parameter 3 of Gemm says that the second matrix is transposed.
    return MATMUL.sub(lambda layer: f"Gemm  {layer[1]}{' 3=1' if layer[2] else ''}", graph)

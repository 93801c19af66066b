"""ncnn's files for GPUs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from torch import nn

from gcc.deploy.formats.ncnn import EXTRA, NCNN
from gcc.errors import GccError
from gcc.registry.runtime import Inputs, Precision
from gcc.utils.optional import needed
from gcc.utils.silence import silenced

MATMUL = re.compile(r"^MatMul +(?P<name>\S+) +2 1 (?P<first>\S+) (?P<second>\S+) (?P<product>\S+)(?P<transposed> 0=1)?$", re.MULTILINE)
"""A product of matrices; the second one is transposed if the parameter 0 is 1."""
SOFTWARE = 3
"""Vulkan's type of a GPU that is a program on the CPU, as ncnn counts types."""


class NCNNVulkan(NCNN):
    """ncnn's files, if ncnn has every layer for GPUs with Vulkan. They run on a GPU if there is one, else on the CPU."""

    title = "ncnn on a GPU"
    on_gpu = True
    script = NCNN.script.replace("net = ncnn.Net()\n", "net = ncnn.Net()\nnet.opt.use_vulkan_compute = True\n")

    @property
    def gpu(self) -> str | None:
        with needed(*EXTRA), silenced():
            import ncnn

            if not ncnn.get_gpu_count():
                return None
            device = ncnn.get_gpu_info(0)
        return f"{device.device_name()}{', in software' if device.type() == SOFTWARE else ''}"

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        with needed(*EXTRA):
            import ncnn
        super().write(network, inputs, path, metadata, precision)
        _replace_products(path, inputs)
        # The layer Input computes nothing.
        kinds = sorted({line.split()[0] for line in path.read_text().splitlines()[2:]} - {"Input"})
        with silenced():
            layers = {kind: ncnn.create_layer(kind) for kind in kinds}
        # `read` names the layers that ncnn lacks altogether.
        lacking = [kind for kind, layer in layers.items() if layer is not None and not layer.support_vulkan]
        if lacking:
            raise GccError(f'ncnn has no {", ".join(lacking)} for GPUs: choose `format="ncnn"`, which runs on the CPU')


def _replace_products(path: Path, inputs: Inputs) -> None:
    """Replace products of two matrices, which ncnn has for CPUs alone, by a layer that computes the same. Stacks of matrices stay.

    Args:
        path: the first of the files.
        inputs: what they accept.
    """
    graph = path.read_text()
    factors = sorted({layer[part] for layer in MATMUL.finditer(graph) for part in ("first", "second")})
    if not factors:
        return
    import ncnn

    net = NCNN().net(path)
    matrices = set()
    # A Mat does not keep its array alive.
    zeros = np.zeros(inputs.shape, np.float32)
    for blob in factors:
        with net.create_extractor() as extractor:
            extractor.input("in0", ncnn.Mat(zeros).clone())
            code, values = extractor.extract(blob)
            if not code and values.dims == 2:
                matrices.add(blob)

    def replaced(layer: re.Match[str]) -> str:
        if not {layer["first"], layer["second"]} <= matrices:
            return layer[0]
        # Parameter 3 of Gemm says that the second matrix is transposed.
        return f"Gemm {layer['name']} 2 1 {layer['first']} {layer['second']} {layer['product']}{' 3=1' if layer['transposed'] else ''}"

    path.write_text(MATMUL.sub(replaced, graph))

"""Converts LiteRT files to int8 with AI Edge Quantizer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from gcc.utils.optional import needed
from gcc.utils.silence import silenced

LAYERS = {
    "CONV_2D": "CONV_2D",
    "DEPTHWISE_CONV_2D": "DEPTHWISE_CONV_2D",
    "TRANSPOSE_CONV": "CONV_2D_TRANSPOSE",
    "FULLY_CONNECTED": "FULLY_CONNECTED",
    "BATCH_MATMUL": "BATCH_MATMUL",
}
"""The operators that compute in int8, and what the quantizer calls them. Others, such as norms and sums, would lose quality."""


def layers_of(path: Path) -> list[str]:
    """Return the names of the layers of a LiteRT file, in the order in which they run: those of the tensors that they return."""
    return [name for name, _ in _layers(path)]


def to_int8(source: Path, target: Path, samples: Iterable[Tensor], keep: Sequence[str]) -> None:
    """Write the LiteRT file `source` with its layers in int8 (static quantisation, one scale per output channel of a weight).

    Inputs, outputs and all other operators stay in float32.

    Args:
        source: the file in float32.
        target: the file to write.
        samples: inputs (1, ...) that the ranges of all features are measured on.
        keep: names of layers that stay in float32.

    Raises:
        GccError: the quantizer is not installed.
    """
    with needed("LiteRT in int8", "ai-edge-quantizer", "litert"), silenced():
        from ai_edge_litert.interpreter import Interpreter
        from ai_edge_quantizer.qtyping import TFLOperationName
        from ai_edge_quantizer.quantizer import Quantizer
    with silenced():
        ((signature, ports),) = Interpreter(str(source)).get_signature_list().items()
        (argument,) = ports["inputs"]
        quantizer = Quantizer(str(source))
        for name, operator in _layers(source):
            if name not in keep:
                # The quantizer ends each name with a semicolon.
                quantizer.add_static_config(f"^{re.escape(name)};?$", TFLOperationName(operator), activation_num_bits=8, weight_num_bits=8)
        # A list, because the quantizer iterates more than once.
        inputs = [{argument: sample.numpy()} for sample in samples]
        ranges = quantizer.calibrate({signature: inputs}, num_threads=torch.get_num_threads())
        quantizer.quantize(ranges).export_model(str(target), overwrite=True)


def _layers(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the name of each layer, and what the quantizer calls its operator."""
    with needed("LiteRT in int8", "ai-edge-litert", "litert"):
        from ai_edge_litert.schema_py_generated import BuiltinOperator, Model
    model = Model.GetRootAs(path.read_bytes())
    graph, operators = model.Subgraphs(0), {getattr(BuiltinOperator, name): called for name, called in LAYERS.items()}
    for operation in map(graph.Operators, range(graph.OperatorsLength())):
        kind = model.OperatorCodes(operation.OpcodeIndex())
        # Small codes are in a field of their own, which is 127 for larger ones.
        code = max(kind.BuiltinCode(), kind.DeprecatedBuiltinCode())
        if code in operators:
            yield graph.Tensors(operation.Outputs(0)).Name().decode(), operators[code]

"""Writes and reads the file formats of exported generators.

The networks to write come from `gcc.deploy.optimize.fold`: batch norms are folded, parametrisations are removed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gcc.deploy.inputs import Inputs
from gcc.models.calls import by_argument
from gcc.utils.optional import needed

if TYPE_CHECKING:
    from torch.export import ExportedProgram

NO_METADATA: Mapping[str, str] = MappingProxyType({})
METADATA_FILE = "gcc.json"
"""The file of the metadata within a file of torch."""


class CallableModule(nn.Module):
    """A generator that another program runs: maps (N, ...) to (N, 3, H, W).

    Args:
        run: maps inputs to images.
    """

    def __init__(self, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, inputs: Tensor) -> Tensor:
        """Run on inputs (N, ...)."""
        return self.run(inputs)


@dataclass(frozen=True)
class Format:
    """A file format.

    Attributes:
        suffix: suffix of the files.
        runtime: the program that runs them.
        write: writes a network that accepts these inputs to a file, with metadata.
        read: reads a file, ready to run on the CPU; weights without a network are loaded into a copy of the network.
    """

    suffix: str
    runtime: str
    write: Callable[[nn.Module, Inputs, Path, Mapping[str, str]], None]
    read: Callable[[Path, nn.Module], nn.Module]


def require_onnx() -> None:
    """Check that ONNX files can be written and run.

    Raises:
        GccError: a package is not installed.
    """
    with needed("ONNX", "onnx, onnxscript and onnxruntime", "export"):
        import onnx  # noqa: F401 - only checks that it is installed
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401


def write_onnx(network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str] = NO_METADATA) -> None:
    """Write an ONNX file with the input `input`, the output `output`, and metadata.

    Raises:
        GccError: a package is not installed.
    """
    require_onnx()
    with warnings.catch_warnings():
        # The exporter of torch 2.11 uses a function that torch 2.11 deprecates.
        warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
        program = torch.onnx.export(_export_graph(network, inputs), input_names=["input"], output_names=["output"], verbose=False)
    assert program is not None
    program.model.metadata_props.update(metadata)
    program.save(str(path), external_data=False)


def read_onnx(path: Path, network: nn.Module | None = None) -> nn.Module:
    """Return the network of an ONNX file; ONNX Runtime runs it on the CPU with as many threads as torch.

    Raises:
        GccError: ONNX Runtime is not installed.
    """
    with needed("an ONNX file", "onnxruntime", "export"):
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(inputs: Tensor) -> Tensor:
        (fake,) = session.run(None, {session.get_inputs()[0].name: inputs.numpy()})
        return torch.from_numpy(fake)

    return CallableModule(run)


def _write_torchscript(network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str]) -> None:
    files = {METADATA_FILE: json.dumps(dict(metadata), indent=2)}
    with _ignore_torchscript_warnings(), torch.no_grad():
        trace = torch.jit.trace(network, torch.zeros(2, *inputs.shape))  # type: ignore[no-untyped-call]
        torch.jit.save(trace, str(path), _extra_files=files)


def _read_torchscript(path: Path, network: nn.Module) -> nn.Module:
    with _ignore_torchscript_warnings():
        script: nn.Module = torch.jit.load(path)  # type: ignore[no-untyped-call]
    return script


@contextmanager
def _ignore_torchscript_warnings() -> Iterator[None]:
    """Ignore warnings that TorchScript is deprecated, and that a trace fixes the result of shape checks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` (is deprecated|is not supported)")
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


def _write_pt2(network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str]) -> None:
    torch.export.save(_export_graph(network, inputs), path, extra_files={METADATA_FILE: json.dumps(dict(metadata), indent=2)})


def _read_pt2(path: Path, network: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        # Torch 2.11 loads constants into read-only memory and warns about it.
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        program = torch.export.load(path)
    # The module itself raises on eval(), which would not change anything.
    return CallableModule(program.module().__call__)


def _export_graph(network: nn.Module, inputs: Inputs) -> ExportedProgram:
    """Return torch's graph of a network for all inputs that it accepts."""
    # Slow to import.
    from torch.export import Dim
    from torch.fx.experimental import _config

    shape, dynamic = inputs.shape, {0: Dim("batch")}
    if inputs.step is not None:
        # Two steps: torch would specialise on a size that becomes 1 inside the network.
        _, height, width = inputs.shape
        shape = inputs.sized(height + inputs.step, width + inputs.step)
        for dim, name in ((2, "rows"), (3, "columns")):
            dynamic[dim] = inputs.step * Dim(name, min=inputs.min_size // inputs.step)
    # With channels last, torch would exclude batches of one.
    plain = deepcopy(network).to(memory_format=torch.contiguous_format)
    # A U-Net may be one pixel high inside; by default torch would exclude such sizes.
    with _config.patch(backed_size_oblivious=True), torch.no_grad():  # type: ignore[attr-defined]
        return torch.export.export(plain, (torch.zeros(2, *shape),), dynamic_shapes=by_argument(plain, (dynamic,)))


def _write_safetensors(network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str]) -> None:
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, metadata={"format": "pt", **metadata})


def _read_safetensors(path: Path, network: nn.Module) -> nn.Module:
    copy = deepcopy(network)
    copy.load_state_dict(load_file(path))
    return copy


FORMATS: Mapping[str, Format] = {
    "onnx": Format(".onnx", "ONNX Runtime", write_onnx, read_onnx),
    "torchscript": Format(".pt", "TorchScript", _write_torchscript, _read_torchscript),
    "pt2": Format(".pt2", "torch.export", _write_pt2, _read_pt2),
    "safetensors": Format(".safetensors", "PyTorch, folded", _write_safetensors, _read_safetensors),
}

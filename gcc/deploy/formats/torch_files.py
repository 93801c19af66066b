"""Files of torch itself: traces, exported programs and weights."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from gcc.deploy.formats.graph import CallableModule, export_graph
from gcc.registry.runtime import Inputs, Precision, Runtime

METADATA_FILE = "gcc.json"
"""The file of the metadata within a file of torch."""
SCRIPT = """\
network = LOADED

def run(inputs):
    with torch.no_grad():
        return network(torch.from_numpy(inputs)).numpy()

return run"""


class TorchScript(Runtime):
    """A trace, which libtorch runs."""

    title = "TorchScript"
    suffixes = (".pt",)
    package = "torch"
    imports = "import torch"
    script = SCRIPT.replace("LOADED", "torch.jit.load(str(FILE))")

    def require(self) -> None:
        """Do nothing: torch is installed."""

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        write_trace(network, inputs, path, {METADATA_FILE: json.dumps(dict(metadata), indent=2)})

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        with ignore_torchscript_warnings():
            script: nn.Module = torch.jit.load(path)  # type: ignore[no-untyped-call]
        return script


def write_trace(network: nn.Module, inputs: Inputs, path: Path, files: Mapping[str, str]) -> None:
    """Write a trace of a network, with other files in it by name."""
    with ignore_torchscript_warnings(), torch.no_grad():
        trace = torch.jit.trace(network, torch.zeros(1 if inputs.one_sample else 2, *inputs.shape))  # type: ignore[no-untyped-call]
        torch.jit.save(trace, str(path), _extra_files=dict(files))


@contextmanager
def ignore_torchscript_warnings() -> Iterator[None]:
    """Ignore warnings that TorchScript is deprecated, and that a trace fixes the result of shape checks."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.\w+` (is deprecated|is not supported)")
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


class ExportedProgram(Runtime):
    """The program of `torch.export`, which AOTInductor compiles."""

    title = "torch.export"
    suffixes = (".pt2",)
    package = "torch"
    imports = "import torch"
    script = f"""\
import logging

# Torch logs the traceback of a file that it cannot load, and raises another error.
logging.getLogger("torch.export").setLevel(logging.ERROR)
{SCRIPT.replace("LOADED", "torch.export.load(str(FILE)).module()")}"""

    def require(self) -> None:
        """Do nothing: torch is installed."""

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        torch.export.save(export_graph(network, inputs), path, extra_files={METADATA_FILE: json.dumps(dict(metadata), indent=2)})

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        with warnings.catch_warnings():
            # Torch 2.11 loads constants into read-only memory and warns about it.
            warnings.filterwarnings("ignore", "The given buffer is not writable")
            program = torch.export.load(path)
        # The module itself raises on eval(), which would not change anything.
        return CallableModule(program.module().__call__)


class FoldedWeights(Runtime):
    """The folded weights by module name, for code that builds the layers itself."""

    title = "PyTorch, folded"
    suffixes = (".safetensors",)
    holds_graph = False
    is_timed = False

    def require(self) -> None:
        """Do nothing: torch is installed."""

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
        save_file(tensors, path, metadata={"format": "pt", **metadata})

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        copy = deepcopy(network)
        copy.load_state_dict(load_file(path))
        return copy

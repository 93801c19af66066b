"""ncnn's files, for phones and small boards."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gcc.deploy.formats.graph import CallableModule, contiguous
from gcc.deploy.formats.torch_files import write_trace
from gcc.errors import GccError
from gcc.registry.runtime import Inputs, Precision, Runtime
from gcc.utils.optional import needed
from gcc.utils.silence import silenced
from gcc.utils.templates import render

EXTRA = "ncnn", "ncnn and pnnx", "ncnn"
REDUCED = "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic", "use_bf16_storage"
"""Options that make ncnn compute in lower precision. By default, it computes in float16 where the processor can."""
PIXELS = {1: "PIXEL_GRAY", 3: "PIXEL_RGB", 4: "PIXEL_RGBA"}
"""ncnn's names for the order of colours, by the number of channels."""


class NCNN(Runtime):
    """Two files, of the graph and of the weights, with the input `in0` and the output `out0`, for one sample at a time."""

    title = "ncnn"
    suffixes = (".ncnn.param", ".ncnn.bin")
    names = "in0", "out0"
    package = "ncnn"
    imports = "import ncnn"
    precisions = ("fp32", "fp16")
    holds_metadata = False
    script = f"""\
net = ncnn.Net()
for option in {REDUCED}:
    setattr(net.opt, option, False)

def check(code, call):
    # After a failure, ncnn would go on and crash.
    if code:
        raise RuntimeError(f"{{call}} returned {{code}}")

check(net.load_param(str(FILE)), "load_param")
check(net.load_model(str(FILE.with_suffix(".bin"))), "load_model")

def run(inputs):
    # A Mat does not keep its array alive.
    values = np.ascontiguousarray(inputs[0])
    with net.create_extractor() as extractor:
        check(extractor.input("in0", ncnn.Mat(values).clone()), "input")
        code, fake = extractor.extract("out0")
        check(code, "extract")
        return np.array(fake)[None]

return run"""

    def require(self) -> None:
        with needed(*EXTRA):
            import ncnn  # noqa: F401 - only checks that it is installed
            import pnnx  # noqa: F401

    def accepts(self, inputs: Inputs) -> Inputs:
        return replace(inputs, one_sample=True)

    def example(self, files: Sequence[str], inputs: Inputs, multiple: int | None, output_channels: int) -> str:
        channels, *size = inputs.shape
        if size and channels not in PIXELS:
            return ""
        height, width = size or (0, 0)
        return render(
            "gcc.deploy",
            "ncnn.md.j2",
            files=files,
            names=self.names,
            options=REDUCED,
            on_gpu=self.on_gpu,
            noise=not size,
            length=channels,
            channels=channels,
            height=height,
            width=width,
            multiple=multiple,
            pixels=PIXELS.get(channels),
            order=PIXELS.get(channels, "").removeprefix("PIXEL_"),
            output=output_channels,
        )

    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        with needed(*EXTRA):
            import pnnx
        shapes = {"inputshape": (1, *inputs.shape)}
        if inputs.step is not None:
            _, height, width = inputs.shape
            shapes["inputshape2"] = (1, *inputs.shape_at(width + 2 * inputs.step, height + inputs.step))
        with TemporaryDirectory() as folder:
            trace = Path(folder) / "generator.pt"
            write_trace(contiguous(network), inputs, trace, {})
            options = [f"fp16={int(precision == 'fp16')}", *(f"{name}={_listed(shape)}" for name, shape in shapes.items())]
            ran = subprocess.run([pnnx.EXEC_PATH, trace.name, *options], cwd=folder, capture_output=True, text=True)
            parts = [trace.with_suffix(suffix) for suffix in self.suffixes]
            if ran.returncode or not all(part.exists() for part in parts):
                raise GccError(f"pnnx cannot convert this generator for ncnn: {(ran.stderr or ran.stdout).strip()[-500:]}")
            for part, suffix in zip(parts, self.suffixes, strict=True):
                _beside(path, suffix).write_bytes(part.read_bytes())

    def net(self, path: Path) -> Any:
        """Return ncnn's network of the files, which computes in float32.

        Raises:
            GccError: ncnn is not installed, or lacks a layer.
        """
        with needed(*EXTRA):
            import ncnn
        net = ncnn.Net()
        net.opt.num_threads = torch.get_num_threads()
        net.opt.use_vulkan_compute = self.on_gpu
        for option in REDUCED:
            setattr(net.opt, option, False)
        with silenced():
            failed = net.load_param(str(path)) or net.load_model(str(_beside(path, self.suffixes[1])))
        if failed:
            raise GccError(f"ncnn cannot run this generator{_missing_layers(path)}: choose another format")
        return net

    def read(self, path: Path, network: nn.Module) -> nn.Module:
        net = self.net(path)
        import ncnn

        def run(inputs: Tensor) -> Tensor:
            # A Mat does not keep its array alive.
            values = inputs[0].contiguous().numpy()
            with net.create_extractor() as extractor:
                extractor.input("in0", ncnn.Mat(values).clone())
                code, fake = extractor.extract("out0")
                if code:
                    raise GccError(f"ncnn cannot run this generator on {tuple(inputs.shape)}: choose another format")
                return torch.from_numpy(np.array(fake))[None]

        return CallableModule(run)


def _missing_layers(path: Path) -> str:
    """Describe the layers of a graph that pnnx could not express in ncnn's: it leaves them with torch's names."""
    kinds = {line.split()[0] for line in path.read_text().splitlines()[2:]}
    missing = sorted(kind for kind in kinds if "." in kind or "::" in kind)
    return f": it lacks {', '.join(missing)}" if missing else ""


def _beside(path: Path, suffix: str) -> Path:
    """Return the file of the same generator with another suffix."""
    return path.with_name(path.name.removesuffix(NCNN.suffixes[0]) + suffix)


def _listed(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"

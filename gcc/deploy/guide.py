"""What an exported file says about its inputs and outputs: in its metadata, and in a README and a script beside it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np

from gcc.artifacts.config import Artifact
from gcc.deploy.inputs import output_shape
from gcc.deploy.outputs import COLOURS
from gcc.deploy.side_by_side import InputHalves
from gcc.registry import Inputs, Runtime
from gcc.utils.files import write_text
from gcc.utils.templates import render


@dataclass(frozen=True)
class Guide:
    """How to feed an exported generator.

    Attributes:
        artifact: the saved generator.
        inputs: the inputs that the file accepts.
        runtime: the program that runs the file.
    """

    artifact: Artifact
    inputs: Inputs
    runtime: Runtime

    @property
    def takes_noise(self) -> bool:
        """Whether the generator takes noise instead of images."""
        return self.artifact.architecture.takes_noise

    @cached_property
    def halves(self) -> InputHalves:
        """Which images hold A and B side by side, and which half is the input."""
        return InputHalves(self.artifact, None)

    @property
    def multiple(self) -> int | None:
        """The number to whose multiples images are padded; None if they are resized to one size."""
        return self.artifact.architecture.size_multiple if self.inputs.step is not None else None

    @property
    def size(self) -> tuple[int, int]:
        """The height and width to which images are resized if they are not padded."""
        _, height, width = self.inputs.shape
        return height, width

    def facts(self) -> dict[str, str]:
        """Return names, layout, range, colours, sizes and the resize, by title."""
        names = [f"`{name}`: " if name else "" for name in self.runtime.names]
        facts = {"input": f"{names[0]}{self.inputs}, float32"}
        if self.takes_noise:
            facts["input values"] = "standard normal noise"
        else:
            facts["input values"] = f"{_colours(self.inputs.shape[0])}, channels first, from -1 to 1: pixel / 127.5 - 1"
            if self.artifact.recipe.range:
                facts["files with more than 8 bits"] = f"the values {self.artifact.recipe.range} are black to white"
            facts["other sizes"] = self._resize()
        if direction := self.artifact.recipe.to_dict().get("direction"):
            facts["direction"] = f"{direction}: the input is an image {direction[0]}, the output an image {direction[-1]}"
        if self.pair_sizes:
            sizes = " or ".join(f"{width}x{height}" for width, height in self.pair_sizes)
            facts["pairs"] = f"an image of {sizes} pixels holds A and B side by side: the {self.halves.side} half is the input"
        channels = self.artifact.output_channels
        facts["output"] = f"{names[1]}{'1' if self.inputs.one_sample else 'N'}x{self._output()}, float32"
        facts["output values"] = f"{_colours(channels)}, channels first, from -1 to 1: pixel = round((value + 1) * 127.5)"
        if len(self.runtime.suffixes) > 1:
            facts["files"] = f"{' and '.join(f'`*{suffix}`' for suffix in self.runtime.suffixes)}, which belong together"
        return facts

    def _output(self) -> str:
        """Return the output's shape without the batch, such as `3xHxW` or `3x4Hx4W`; numbers if the input's shape is fixed."""
        channels, height, width = output_shape(self.artifact.network(), self.inputs)
        if self.inputs.step is None:
            return f"{channels}x{height}x{width}"
        factors = (size // own for size, own in zip((height, width), self.size, strict=True))
        rows, columns = (str(factor) if factor > 1 else "" for factor in factors)
        return f"{channels}x{rows}Hx{columns}W"

    @property
    def pair_sizes(self) -> list[tuple[int, int]]:
        """The sizes of images that hold A and B side by side. An image of the one size that a file accepts is an input."""
        return sorted(size for size in self.halves.sizes if self.multiple is not None or size != self.size[::-1])

    def _resize(self) -> str:
        if self.multiple == 1:
            return "none: every size is taken as it is"
        if self.multiple:
            return (
                f"pad at the right and the bottom to multiples of {self.multiple}, by mirroring without the border itself "
                "(by repeating the border if the image is smaller than the padding), and crop the output"
            )
        height, width = self.size
        return f"resize to {width}x{height}, bicubic and anti-aliased"

    def metadata(self) -> dict[str, str]:
        """Return the facts for a file's metadata, by keys such as `input_values`."""
        facts = {title.replace(" ", "_"): text.replace("`", "") for title, text in self.facts().items()}
        return facts | {"producer": f"gan-gcc {version('gan-gcc')}", "arch": self.artifact.arch, "generator": self.artifact.generator}

    @property
    def has_script(self) -> bool:
        """Whether a script with numpy, Pillow and the runtime alone can run the file."""
        shape = self.inputs.shape
        if self.takes_noise:
            drawn = self.artifact.architecture.sample_z(np.random.default_rng(0))
            normal = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
            runs = len(shape) == 1 and drawn is not None and np.array_equal(np.asarray(drawn), normal)
        else:
            runs = len(shape) == 3 and shape[0] in COLOURS
        return bool(self.runtime.package) and runs and self.artifact.output_channels in COLOURS

    def _example(self, path: Path) -> str:
        """Return the README's section on other languages."""
        multiple = None if self.takes_noise else self.multiple
        return self.runtime.example(list(self._sizes(path)), self.inputs, multiple, self.artifact.output_channels)

    def _sizes(self, path: Path) -> dict[str, int]:
        """Return the sizes in bytes of the files of an exported generator, by their names."""
        stem = path.name.removesuffix(self.runtime.suffixes[0])
        files = (path.with_name(stem + suffix) for suffix in self.runtime.suffixes)
        return {file.name: file.stat().st_size for file in files if file.is_file()}

    def write(self, path: Path, measured: Mapping[str, str]) -> list[Path]:
        """Write `FILE.README.md` and `FILE.infer.py` next to an exported file, and return their paths.

        Args:
            path: the file.
            measured: what was measured on it, by title.

        Raises:
            OutputError: they cannot be written.
        """
        readme, script = (path.with_name(path.name + suffix) for suffix in (".README.md", ".infer.py"))
        height, width = (0, 0) if self.takes_noise else self.size
        values = {
            "file": path.name,
            "files": self._sizes(path) if self.has_script else {},
            "script": script.name if self.has_script else "",
            "quoted": shlex.quote(script.name),
            "package": self.runtime.package,
            "imports": self.runtime.imports,
            "run": self.runtime.script,
            "weights_only": not self.runtime.holds_graph,
            "noise": self.takes_noise,
            "length": self.inputs.shape[0],
            "channels": self.inputs.shape[0],
            "mode": _colours(self.inputs.shape[0]),
            "output": self.artifact.output_channels,
            "multiple": self.multiple,
            "height": height,
            "width": width,
            "range": self.halves.value_range,
            "half": self.halves.input,
            "side": self.halves.side,
            "pair_sizes": [] if self.takes_noise else self.pair_sizes,
            "facts": self.facts(),
            "example": self._example(path),
            "measured": measured,
            "what": f"The {self.artifact.role} {self.artifact.generator} of {self.artifact.arch}",
            "version": version("gan-gcc"),
        }
        templates = {readme: "guide.md.j2"} | ({script: "infer.py.j2"} if self.has_script else {})
        for target, template in templates.items():
            write_text(target, render("gcc.deploy", template, **values))
        return list(templates)


def _colours(channels: int) -> str:
    return COLOURS.get(channels, f"{channels} channels")

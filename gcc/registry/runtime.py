"""The contract of a runtime: a program that runs exported generators, with its file format."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from gcc.errors import GccError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Inputs:
    """The inputs that a generator accepts: samples of a fixed shape, or images of many sizes.

    Attributes:
        shape: shape of the sample that costs refer to, such as (3, 256, 256).
        step: height and width must be multiples of this; None if the shape is fixed.
        min_size: the smallest height and width.
        one_sample: whether a pass takes one sample; otherwise any number.
    """

    shape: tuple[int, ...]
    step: int | None = None
    min_size: int = 0
    one_sample: bool = False

    def shape_at(self, width: int, height: int) -> tuple[int, ...]:
        """Return the shape of one sample of this size."""
        return self.shape[0], height, width

    def checked_shape(self, width: int, height: int) -> tuple[int, ...]:
        """Return the shape of one sample of this size.

        Raises:
            GccError: the generator does not accept this size.
        """
        if self.step is None or min(width, height) < self.min_size or width % self.step or height % self.step:
            size = width if width == height else f"{width}x{height}"
            raise GccError(f"size {size}: this generator takes {self}")
        return self.shape_at(width, height)

    def probe_shapes(self) -> Iterator[tuple[int, ...]]:
        """Yield shapes (N, ...) that show whether another program accepts the same inputs: several batch sizes and image sizes."""
        yield 1, *self.shape
        if not self.one_sample:
            yield 3, *self.shape
        if self.step is not None:
            _, height, width = self.shape
            yield 1, *self.shape_at(width, height + self.step)
            yield 1 if self.one_sample else 2, *self.shape_at(width + 2 * self.step, height)
            if self.min_size < min(height, width):
                yield 1, *self.shape_at(self.min_size, self.min_size)

    def __str__(self) -> str:
        """Describe the inputs, such as `Nx3xHxW, H and W multiples of 4 from 8 up`."""
        batch = "1" if self.one_sample else "N"
        if self.step is None:
            return "x".join((batch, *map(str, self.shape)))
        sizes = f"multiples of {self.step} from {self.min_size} up" if self.step > 1 else f"any from {self.min_size} up"
        return f"{batch}x{self.shape[0]}xHxW, H and W {sizes}"


class Runtime(abc.ABC):
    """Writes generators to files of another program, and runs these.

    The name of its entry point is what `gcc export`, `gcc bench` and latency budgets call it. It is created without arguments and holds no
    state.
    """

    title: ClassVar[str]
    """The program's name, such as "ONNX Runtime"."""
    suffixes: ClassVar[tuple[str, ...]]
    """The suffixes of the files, or folders, that make up one generator; the first is that of the path that users name."""
    folder: ClassVar[bool] = False
    """Whether the path that users name is a folder."""
    names: ClassVar[tuple[str, str]] = ("", "")
    """The names of the input and the output in the files; empty if they have none."""
    holds_graph: ClassVar[bool] = True
    """Whether the files hold more than weights."""
    package: ClassVar[str] = ""
    """What a script installs from PyPI to run the files. If it is empty, no script is written."""
    imports: ClassVar[str] = ""
    """The script's import of this package, such as `import onnxruntime`."""
    script: ClassVar[str] = ""
    """Python lines of the script, with `np` for NumPy, that load the `Path` FILE and end with `return run`, where `run` maps float32 arrays
    of inputs (N, ...) to images (N, C, H, W)."""
    precisions: ClassVar[tuple[Precision, ...]] = ("fp32",)
    """The precisions that files may have."""
    holds_metadata: ClassVar[bool] = True
    """Whether the files hold the metadata."""
    runs_here: ClassVar[bool] = True
    """Whether the program runs on this system, so that outputs can be compared."""
    on_gpu: ClassVar[bool] = False
    """Whether the program computes on a GPU; inputs and outputs are on the CPU. Without a GPU, `read` returns a module on the CPU."""

    @property
    def gpu(self) -> str | None:
        """The name of the GPU that the program computes on, or None without one."""
        return None

    @property
    def is_timed(self) -> bool:
        """Whether generators are timed in the program on this machine, so that benchmarks and budgets may name it."""
        return self.runs_here and (not self.on_gpu or self.gpu is not None)

    @abc.abstractmethod
    def require(self) -> None:
        """Check that this machine can write and run the files.

        Raises:
            GccError: a package is not installed; the message says how to install it.
        """

    def accepts(self, inputs: Inputs) -> Inputs:
        """Return the inputs that a file accepts, of those that the generator accepts: by default all."""
        return inputs

    def example(self, files: Sequence[str], inputs: Inputs, multiple: int | None, output_channels: int) -> str:
        """Return a section of the README beside the files, in Markdown: how to run them in other languages. By default there is none.

        Args:
            files: the names of the files.
            inputs: what they accept: images, (C, H, W), or standard normal noise, (N,).
            multiple: the number to whose multiples images are padded; None for noise, and for images that are resized to one size.
            output_channels: channels of the generated images.
        """
        return ""

    @abc.abstractmethod
    def write(self, network: nn.Module, inputs: Inputs, path: Path, metadata: Mapping[str, str], precision: Precision = "fp32") -> None:
        """Write the files of a generator.

        Args:
            network: a generator in eval mode, with folded batch norms and without parametrisations; it must not be changed.
            inputs: what the file must accept, from `accepts`.
            path: the first file; the others differ in the suffix.
            metadata: texts about inputs and outputs by key.
            precision: `fp32`, or `fp16` if `precisions` has it: of the weights and, where the program can, of the computation.

        Raises:
            GccError: a package is not installed, or the program lacks an operator.
        """

    @abc.abstractmethod
    def read(self, path: Path, network: nn.Module) -> nn.Module | None:
        """Return a module that runs a file with as many threads as torch; None if the program does not run on this system.

        Args:
            path: the first file.
            network: the generator that was written, for files that hold weights only; it must not be changed.

        Raises:
            GccError: a package is not installed.
        """


class QuantizingRuntime(Runtime):
    """A runtime whose files may also be in int8; its `precisions` has `int8`."""

    def int8_source(self, exact: Path, network: nn.Module, inputs: Inputs, metadata: Mapping[str, str]) -> Path:
        """Return the file in float32 that `layers` and `quantize` read: the first one of this runtime, or another one written beside it.

        Args:
            exact: the first file in float32.
            network: the generator that it contains.
            inputs: what it accepts.
            metadata: texts for the file.
        """
        return exact

    @abc.abstractmethod
    def layers(self, exact: Path) -> list[str]:
        """Return the names of the layers that `quantize` can keep in float32, of a file that `int8_source` returned."""

    @abc.abstractmethod
    def quantize(self, exact: Path, path: Path, samples: Iterable[Tensor], keep: Sequence[str]) -> None:
        """Write the files of a generator in int8.

        Args:
            exact: the file that `int8_source` returned.
            path: the first file to write.
            samples: inputs (1, ...) that the ranges of features are measured on.
            keep: names of layers that stay in float32.

        Raises:
            GccError: a package is not installed.
        """

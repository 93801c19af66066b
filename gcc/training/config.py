"""How a run runs: data, hardware, precision, and what happens when training goes wrong.

The command line, the keywords of `Compressor` and `Trainer`, and the `command.json` of a run's folder derive their options from
`RunConfig`. Hyperparameters belong to `Recipe`.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from gcc.errors import GccError
from gcc.utils.arguments import require_kind
from gcc.utils.user_warnings import warn_user

Amp = Literal["auto", "bf16", "fp16", "off"]
OnCollapse = Literal["warn", "stop", "rollback"]
OnNan = Literal["stop", "rollback"]


def _option(default: Any, help: str, metavar: str = "", minimum: int | None = None) -> Any:
    """Return a field with what the command line says of it."""
    return field(default=default, metadata={"help": help, "metavar": metavar, "minimum": minimum})


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The options of a run.

    Attributes:
        data: folder of the training images. None means the architecture's demo data and demo recipe.
        dataset: name of the dataset plugin that reads `data`. None means that it is found by the folder's layout.
        weights: files of trained weights by the name of their network, such as `vgg19`, for task losses and evaluators. Networks that are
            not named are looked up in torch's cache.
        widths: folder of a saved student whose widths are used; Algorithm 1's first step is then skipped. None searches for widths.
        student: folder of a saved student to train further: the second step starts with only its widths and weights. None starts with a new
            student.
        micro_batch: samples per forward pass, to save memory. Gradients stay the same, except that batch norm normalises each micro-batch
            separately; the gradient penalty of `wgangp` takes whole batches. None runs whole batches.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        amp: mixed precision: `auto`, `bf16`, `fp16` or `off`.
        reference: run in float32 and contiguous layout, and skip no channels. Slower; used to validate the faster modes.
        on_collapse: what to do when training collapses: `warn`, `stop`, or `rollback` to the last good epoch at half the learning rates of
            generators and discriminators.
        on_nan: what to do when a loss is not finite: `stop` or `rollback`.
        detect_anomaly: stop at the first layer or gradient that is not finite, and name it. Slow, since every layer is checked.
        compile: compile the networks with `torch.compile`. The first steps are slow.
        eager: run every operator by itself on a GPU, instead of replaying training steps as CUDA graphs.
        deterministic: use only algorithms that give bit-equal results every time, also on a GPU.
        workers: number of processes that read images; 0 reads them in the main process. None means 4 on a GPU, or one per core if there are
            fewer, and 0 on a CPU.
        cache: decode the images once, when the run is checked, and keep them in `.gcc/` in the data folder.
        skip_bad: leave out images that cannot be read instead of stopping.

    Raises:
        GccError: a value is invalid, or two options exclude each other.
    """

    data: Path | None = _option(None, "Training images in their usual layout  [default: demo data]", "DIR")
    dataset: str | None = _option(None, "Dataset plugin that reads the data  [default: found by the layout]", "NAME")
    weights: Mapping[str, str | Path] = field(
        default_factory=dict,
        metadata={"help": "Trained weights of a network, such as vgg19 or inception.", "metavar": "NAME=FILE", "minimum": None},
    )
    widths: Path | None = _option(None, "Use the widths of a saved student instead of searching for widths.", "DIR")
    student: Path | None = _option(None, "Train a saved student further, starting with its widths and weights.", "DIR")
    micro_batch: int | None = _option(None, "Samples per forward pass, to save memory.", "N", minimum=1)
    device: str = _option("auto", "Device: auto, cpu, cuda or cuda:N.", "NAME")
    amp: Amp = _option("auto", "Mixed precision.")
    reference: bool = _option(False, "Run in the slow reference mode: float32, torch's own layouts, nothing skipped.")
    on_collapse: OnCollapse = _option("warn", "When training collapses: warn, stop, or go back to the last good epoch.")
    on_nan: OnNan = _option("stop", "When a loss is not finite: stop, or go back to the last good epoch.")
    detect_anomaly: bool = _option(False, "Stop at the first layer whose output is not finite, and name it (slow).")
    compile: bool = _option(False, "Compile the networks with torch.compile, for GPUs; the first steps are slow.")
    eager: bool = _option(False, "Run operator by operator on a GPU, without CUDA graphs.")
    deterministic: bool = _option(False, "Use only deterministic algorithms, also on a GPU.")
    workers: int | None = _option(None, "Number of processes that read images  [default: up to 4 on a GPU, else 0]", "N", minimum=0)
    cache: bool = _option(False, "Decode the images once and keep them in .gcc/ in the data folder.")
    skip_bad: bool = _option(False, "Leave out images that cannot be read.")

    def __post_init__(self) -> None:
        """Check every value, and turn paths that are given as text into paths."""
        kinds = typing.get_type_hints(type(self))
        for option in fields(self):
            value, minimum = getattr(self, option.name), option.metadata["minimum"]
            require_kind(option.name, value, kinds[option.name])
            if minimum is not None and value is not None and value < minimum:
                raise GccError(f"{option.name} = {value!r}: expected a whole number from {minimum} up")
            if value is not None and Path in typing.get_args(kinds[option.name]):
                object.__setattr__(self, option.name, Path(value))
        object.__setattr__(self, "weights", dict(self.weights))
        if self.widths is not None and self.student is not None:
            raise GccError(f"the student in {self.student} has its own widths: leave out `widths` or `student`")
        if self.reference and self.amp in ("bf16", "fp16"):
            raise GccError(f'the reference mode runs in float32: leave out `reference` or `amp="{self.amp}"`')
        excluded = [f"`{name}`" for name in ("reference", "micro_batch", "detect_anomaly") if getattr(self, name)]
        if self.compile and excluded:
            raise GccError(f"`compile` cannot be combined with {' and '.join(excluded)}: leave out `compile` or {' and '.join(excluded)}")

    @classmethod
    def split(cls, options: Mapping[str, Any]) -> tuple[RunConfig, dict[str, Any]]:
        """Return the run's options among `options`, and the rest: recipe fields.

        Raises:
            GccError: a value is invalid, or two options exclude each other.
        """
        if "plain" in options:
            warn_user("the option plain is now called reference", FutureWarning)
            options = {"reference": options["plain"], **{name: value for name, value in options.items() if name != "plain"}}
        own = {option.name for option in fields(cls)}
        return cls(**{name: value for name, value in options.items() if name in own}), {
            name: value for name, value in options.items() if name not in own
        }


def choices_of(name: str) -> tuple[str, ...]:
    """Return the texts that an option of `RunConfig` may take, or an empty tuple if it is not a choice."""
    kind = typing.get_type_hints(RunConfig)[name]
    return typing.get_args(kind) if typing.get_origin(kind) is Literal else ()

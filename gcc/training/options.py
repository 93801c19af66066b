"""The keywords of `Compressor` and `Trainer`, for type checkers, `help()` and notebooks."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

from torch import Tensor, nn

from gcc.recipe import GanMode, MacCounter, Schedule
from gcc.training.config import Amp, OnCollapse, OnNan, RunConfig

Constructor = TypeVar("Constructor", bound=Callable[..., None])


class RecipeOptions(TypedDict, total=False):
    """The recipe fields that all families share, as keywords; a family's own fields go to `Teacher.create`.

    A size may also be a text such as "512x256", or a width and a height, and a range two numbers.
    """

    size: int | str | tuple[int, int]
    range: str | tuple[float, float] | None
    ngf: int
    ndf: int
    metric: str
    prune_width: int
    sparsity: float | None
    min_keep_ratio: float
    round_to: int
    budget: str
    mac_counter: MacCounter
    evaluators: str
    result_epoch: str
    evaluate_every: int
    epochs: int
    steps: int | None
    decay_fraction: float
    schedule: Schedule
    batch_size: int
    lr_g: float
    lr_d: float
    beta1: float
    beta2: float
    pretrain_epochs: int
    gan_mode: GanMode
    lambda_d: float
    lambda_gan: float
    pool_size: int
    lambda_gp: float
    ema_decay: float
    update_order: Literal["GD", "DG"]
    student_steps: int
    distillers: str
    selector: str
    gamma_m: float
    gamma_t: float
    lambda_distill_g: float
    lambda_distill_d: float
    discriminator: Literal["selective", "full", "none"] | nn.Module
    lambda_global: float
    tau: float
    lr_alpha: float
    alpha_reach: float
    alpha_decay_epochs: int
    start: Literal["fresh", "inherited"]
    train_teacher: bool
    seed: int


class NetworkOptions(TypedDict, total=False):
    """The keywords for your own networks, in place of a teacher: the arguments of `Teacher.of`.

    `discriminator` is one of them, too. `generator` and `discriminator` are networks; a text is the recipe field of that name.
    """

    generator: nn.Module
    task: str
    example: Tensor | None
    value_range: str | Sequence[float]
    losses: Callable[..., Any] | None
    gates: Sequence[str] | None


class RunOptions(NetworkOptions, RecipeOptions, total=False):
    """The keywords of `Compressor` and `Trainer` beside the teacher and the data: those of `RunConfig`, and recipe fields."""

    dataset: str | None
    weights: Mapping[str, str | Path]
    widths: str | Path | None
    student: str | Path | None
    micro_batch: int | None
    device: str
    amp: Amp
    reference: bool
    on_collapse: OnCollapse
    on_nan: OnNan
    detect_anomaly: bool
    compile: bool
    eager: bool
    deterministic: bool
    workers: int | None
    cache: bool
    skip_bad: bool


def split_networks(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options for a user's own networks, and the rest."""
    names = NetworkOptions.__annotations__.keys() | {"discriminator"}
    # The recipe fields `generator` and `discriminator` are text.
    networks = {
        name: value for name, value in options.items() if name in names and (name in ("task", "value_range") or not isinstance(value, str))
    }
    return networks, {name: value for name, value in options.items() if name not in networks}


class _FromRecipe:
    """The default of a recipe field in a signature."""

    def __repr__(self) -> str:
        return "<recipe>"


def shows_options(init: Constructor) -> Constructor:
    """Show the keywords of `RunOptions` in the signature of a constructor that takes them as `**options`.

    `help()` and notebooks read the signature; type checkers and editors read `Unpack[RunOptions]`. A family's own recipe fields remain
    possible as further keywords.
    """
    *first, others = inspect.signature(init).parameters.values()
    defaults = {option.name: option.default for option in fields(RunConfig)} | {"weights": {}}
    kinds = typing.get_type_hints(RunOptions)
    names = [name for name in kinds if name in defaults] + [name for name in kinds if name not in defaults]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults.get(name, _FromRecipe()), annotation=kinds[name])
        for name in names
    ]
    last = others.replace(annotation=Any)
    init.__signature__ = inspect.Signature([*first, *options, last], return_annotation=None)  # type: ignore[attr-defined]
    return init

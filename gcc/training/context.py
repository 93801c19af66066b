"""What a run works with: the architecture bound to its recipe, hardware, data, frozen networks and evaluators."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from enum import IntEnum
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from gcc.data.loader import Loader
from gcc.data.splits import DataSplits
from gcc.data.torch_datasets import TorchDatasets, UserData
from gcc.deploy.runtimes import require_runtime
from gcc.errors import GccError, RecipeError
from gcc.evaluation.collection import EvaluatorCollection, split_names
from gcc.evaluation.split import SplitEvaluation
from gcc.losses.distillers import Distillers, reads_teacher_discriminators
from gcc.models.modules import Widths
from gcc.pruning.budget import Budget, LatencyBudget
from gcc.pruning.cost import Cost, generator_cost
from gcc.recipe import Recipe, changed
from gcc.registry import TASKS, Architecture, Batch, DatasetSource, EvalContext, Networks
from gcc.training.config import RunConfig
from gcc.training.options import split_networks
from gcc.training.precision import ExecutionConfig, process_settings
from gcc.training.teacher import Teacher
from gcc.utils.arguments import require_kind, shown
from gcc.utils.device import choose_device
from gcc.utils.distributed import Ranks, init_distributed
from gcc.utils.weights import Weights

EXPECTED_TEACHER = (
    "expected Teacher.create('pix2pix') or Teacher.load(folder), or, for your own generator, `generator` and `task` in its place"
)


class Stream(IntEnum):
    """Streams of training batches, drawn independently of each other."""

    SINGLE = 0
    """One pair trains by itself."""
    TRAIN = 1
    """The first batch of an iteration of Algorithm 1 (line 8)."""
    ALPHA = 2
    """The second batch (line 12)."""
    PRETRAIN = 3
    """Generators train by themselves before adversarial training."""
    IMPORTANCE = 4
    """Gradients for importance metrics that read them."""


GPU_WORKERS = 4
"""Processes that read images for a GPU, which trains faster than one process can read."""
PREPARED = {Stream.SINGLE, Stream.TRAIN, Stream.IMPORTANCE}
"""Streams whose batches feed task losses, and are prepared for them."""


class RunContext:
    """What a run works with. Nothing here changes while it trains.

    Args:
        teacher: the architecture, its recipe, and pretrained weights if it has any.
        config: the options of the run.
        settings: recipe fields. `steps` prepares the data at once, because its size decides the number of epochs.
        datasets: a user's own datasets, in place of the folder that `config` names.

    Raises:
        GccError: the recipe, the device, a plugin or the data cannot be used.
    """

    def __init__(self, teacher: Teacher, config: RunConfig, settings: Mapping[str, Any], datasets: TorchDatasets | None = None) -> None:
        if not isinstance(teacher, Teacher):
            raise GccError(f"{shown(teacher)} is not a teacher: {EXPECTED_TEACHER}")
        self.teacher = teacher
        self.config = config
        self.arch = teacher.arch
        data = datasets or config.data
        self.uses_demo_data = data is None
        self.architecture: Architecture[Any] = teacher.architecture_for(data, settings)
        self.recipe: Recipe = self.architecture.recipe
        self.distillers = Distillers(self.recipe)
        if not self.recipe.train_teacher:
            _require_frozen(teacher, self.recipe)
        choices = ("auto", "last", *split_names(self.recipe.evaluators))
        if self.recipe.result_epoch not in choices:
            raise RecipeError(
                f"result_epoch = {self.recipe.result_epoch!r}: expected {', '.join(choices)}; a metric that selects must be in `evaluators`"
            )
        self.device = choose_device(config.device)
        self.ranks: Ranks = init_distributed()
        self.execution = ExecutionConfig.of(
            config,
            self.device,
            self.ranks,
            channels_last=self.architecture.channels_last,
            supports_cuda_graphs=self.architecture.supports_cuda_graphs,
        )
        self.weights = Weights(config.weights)
        self._opened = DataSplits(self.architecture, data, config.dataset)
        self.data_name = self._opened.name
        if self.recipe.steps:
            self.recipe = changed(self.recipe, {"epochs": -(-self.recipe.steps // self.loader.steps)})
            self.architecture = type(self.architecture)(self.recipe)
            self.distillers = Distillers(self.recipe)

    @classmethod
    def of(cls, teacher: Teacher | None, data: str | Path | UserData | None, options: Mapping[str, Any]) -> RunContext:
        """Return what a run works with from the arguments of `Compressor` and `Trainer`.

        A data loader brings its batch size and its number of workers, unless the options name them.

        Args:
            teacher: the architecture, its recipe, and pretrained weights if it has any. None if the options have the networks.
            data: a folder, or a user's own datasets. None means the architecture's demo data.
            options: the options of `RunConfig`, recipe fields, and `NetworkOptions`.

        Raises:
            GccError: an option, the recipe, the device, a plugin or the data cannot be used.
        """
        teacher, options = teacher_and_options(teacher, options)
        if data is None or isinstance(data, str | Path):
            return cls(teacher, *RunConfig.split({"data": data, **options}))
        if options.get("dataset"):
            raise GccError("dataset names a plugin that reads a folder, and data is a dataset already: leave dataset out")
        datasets = TorchDatasets(data)
        config, settings = RunConfig.split({**datasets.options, **options})
        return cls(teacher, config, settings, datasets)

    @cached_property
    def data(self) -> DataSplits:
        """The data, prepared when it is first used: without bad images with `skip_bad`, decoded with `cache`. All ranks must be there.

        Raises:
            DataError: an image cannot be used or cached.
            OutputError: the cache cannot be written.
        """
        data = self._opened
        if self.config.skip_bad:
            data.drop_unreadable()
        if self.config.cache:
            if not self.config.skip_bad:
                data.check()  # Its message names the image and the remedy.
            with self.ranks.main_process_first():
                data.cache()
        return data

    @cached_property
    def loader(self) -> Loader:
        """The batches of the training split."""
        return Loader(
            self.data.train,
            self.architecture.sample_z,
            batch_size=self.recipe.batch_size,
            seed=self.recipe.seed,
            device=self.device,
            workers=self._workers,
            ranks=self.ranks,
        )

    @property
    def _workers(self) -> int:
        """The processes that read images, for each stream."""
        if self.config.workers is not None:
            return self.config.workers
        return min(GPU_WORKERS, os.cpu_count() or 1) if self.device.type == "cuda" else 0

    @property
    def teacher_note(self) -> str:
        """What a user should know about the teacher, as a sentence; empty if there is nothing to say."""
        return self.teacher.note if self.recipe.train_teacher else ""

    @property
    def training_steps(self) -> int:
        """The number of steps of the adversarial stage."""
        return self.recipe.steps or self.recipe.epochs * self.loader.steps

    def batches(self, stream: Stream, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from number `start` on, prepared for the task losses if the stream feeds them."""
        for batch in self.loader.batches(epoch, stream, start):
            yield self._prepared(batch) if stream in PREPARED else batch

    @torch.no_grad()
    def _prepared(self, batch: Batch) -> Batch:
        with self.execution.autocast():
            return self.architecture.prepare(batch, self.auxiliary)

    @cached_property
    def auxiliary(self) -> Networks:
        """The frozen networks that task losses read, on the device."""
        return self._frozen(self.architecture.build_auxiliary(self.weights))

    @cached_property
    def distiller_networks(self) -> Mapping[str, Networks]:
        """The frozen networks that distillers read, by distiller, on the device."""
        return {name: self._frozen(built) for name, built in self.distillers.build_auxiliary(self.weights).items()}

    def _frozen(self, networks: Networks) -> Networks:
        return {name: self.execution.to_device(network).eval().requires_grad_(False) for name, network in networks.items()}

    @cached_property
    def evaluators(self) -> EvaluatorCollection:
        """The evaluators that the recipe names."""
        data = self.data
        context = EvalContext(self.weights, self.device, lambda: data.train, data.store)
        return EvaluatorCollection(split_names(self.recipe.evaluators), context, paired=self.architecture.paired)

    @cached_property
    def test(self) -> SplitEvaluation:
        """Evaluates generators on the test split, which measures the result."""
        return self._evaluation(self.data.test)

    @cached_property
    def validation(self) -> SplitEvaluation | None:
        """Evaluates generators on the validation split, which ranks the epochs. None if there is no split or no evaluator."""
        return self._evaluation(self.data.validation) if self.data.validation and self.evaluators.by_name else None

    def _evaluation(self, source: DatasetSource) -> SplitEvaluation:
        return SplitEvaluation(self.evaluators, self.architecture, source, ranks=self.ranks, workers=self._workers)

    def process_settings(self) -> AbstractContextManager[None]:
        """Return the context in which the process-wide switches of the run are set."""
        return process_settings(self.config, self.device)

    def full_widths(self, base: int) -> dict[str, Widths]:
        """Return the widths of every unpruned generator of width `base`, by generator."""
        return {name: self.architecture.full_widths(base) for name in self.architecture.generators}

    def budgets(self) -> dict[str, Budget | LatencyBudget]:
        """Return the budget of each generator.

        Raises:
            BudgetError: the recipe's budget cannot be read.
        """
        return Budget.parse_each(self.recipe.budget, self.architecture.generators)

    def teacher_cost(self) -> Cost:
        """Return the cost of one unpruned teacher generator."""
        return generator_cost(self.architecture, self.architecture.full_widths(self.recipe.ngf))

    def check(self) -> None:
        """Refuse now, before any long work, what would fail later. Every image is read once.

        This prepares the data: with `skip_bad`, unreadable samples are left out; with `cache`, the decoded images are written to disk.

        Raises:
            GccError: the budget cannot be read or is a latency that this machine cannot measure, weights are missing, or an image cannot be
                used.
        """
        for budget in self.budgets().values():
            if isinstance(budget, LatencyBudget):
                # The result is timed at the end, whoever chose its widths.
                require_runtime(budget.runtime)
        self.auxiliary, self.distiller_networks  # noqa: B018 - reads the weights
        if not (self.config.skip_bad or self.config.cache):
            self.data.check()
        self.test.check()
        if self.validation:
            self.validation.check()
        self.weights.require_asked()


def teacher_and_options(teacher: Teacher | None, options: Mapping[str, Any]) -> tuple[Teacher, Mapping[str, Any]]:
    """Return the teacher, and the options without the networks that it consists of if it is None.

    Raises:
        GccError: there is neither a teacher nor a generator, or both, or the networks do not fit the task.
    """
    if teacher is None:
        networks, options = split_networks(options)
        return _teacher_of(networks, RunConfig.split(options)[1]), options
    if isinstance(options.get("generator"), nn.Module):
        raise GccError("a teacher and a generator are given: leave out either")
    return teacher, options


def _teacher_of(networks: Mapping[str, Any], settings: Mapping[str, Any]) -> Teacher:
    """Return the teacher of the networks that the user brings.

    Raises:
        GccError: there are none, or they do not fit the task.
    """
    generator = networks.get("generator", settings.get("generator"))
    if generator is not None:
        require_kind("generator", generator, nn.Module)
    if not networks:
        raise GccError(f"no teacher: {EXPECTED_TEACHER}")
    if missing := [name for name in ("generator", "task") if name not in networks]:
        tasks = ", ".join(TASKS.names())
        raise GccError(f"`{missing[0]}` is missing: for your own generator, give `generator` and `task` (one of {tasks})")
    return Teacher.of(**networks, **{name: value for name, value in settings.items() if name != "discriminator"})


def _require_frozen(teacher: Teacher, recipe: Recipe) -> None:
    """Refuse a teacher that cannot stay as it is, because it is not trained, or because the student's losses read what it lacks.

    Raises:
        RecipeError: it cannot.
    """
    if not teacher.is_trained:
        raise RecipeError("train_teacher = false needs a trained teacher, and this one is not pretrained: give one with `teacher`")
    if reads_teacher_discriminators(recipe) and not teacher.has_discriminators:
        remedy = "import them with `gcc import --discriminator`" if teacher.folder else "give `discriminator`"
        raise RecipeError(
            f"train_teacher = false needs a teacher with trained discriminators, and {teacher.folder or 'the generator'} has none: "
            f"{remedy}, or use no loss that reads them (`lambda_distill_d=0`, `lambda_global=0`)"
        )

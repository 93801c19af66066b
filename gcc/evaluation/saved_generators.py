"""Evaluates saved generators on a split of a data set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import torch

from gcc.artifacts.config import GENERATED, Artifact, Factory
from gcc.artifacts.model import environment, read
from gcc.artifacts.run_folder import RunData, data_of, why_unknown
from gcc.data.splits import SplitOpener, require_readable, without_unreadable
from gcc.errors import DataError, GccError
from gcc.evaluation.collection import EvaluatorCollection
from gcc.evaluation.evaluation import Evaluation, metrics_of
from gcc.evaluation.split import SplitEvaluation
from gcc.registry import DATASETS, DatasetSource, EvalContext
from gcc.utils.weights import Weights

LARGEST_BATCH = 64
"""The largest batch that a saved recipe may ask for. Without this limit, the recipe alone would decide how much memory is used."""


def read_all(subject: Path, factory: Factory | None) -> dict[str, Artifact]:
    """Return all generators of a saved model by name.

    Raises:
        GccError: one is missing, or cannot be read.
    """
    artifacts = read(subject, factory=factory)
    missing = [name for name in next(iter(artifacts.values())).architecture.generators if name not in artifacts]
    if missing:
        raise GccError(f"{subject} lacks the generator {', '.join(missing)}: give the folder of all generators, such as {subject.parent}")
    return artifacts


class Splits:
    """The splits of the data that a generator is evaluated on.

    Attributes:
        left_out: which samples of the splits that have been opened are left out, and why.

    Args:
        artifact: the generator.
        data: the data.
    """

    def __init__(self, artifact: Artifact, data: RunData) -> None:
        self._opener = SplitOpener(artifact.architecture, data.folder, data.dataset)
        self._skips_bad = data.skip_bad
        self.left_out: list[str] = []

    @property
    def name(self) -> str:
        """The name of the data."""
        return self._opener.name

    def open(self, name: str) -> DatasetSource:
        """Return a split, without the samples that cannot be read if these are left out.

        Raises:
            DataError: the data has no such split, or a sample cannot be read.
        """
        source = self._opener.open(name)
        if name == "val" and source.note:
            raise DataError(f'{self.name} has no validation images apart from those of its test split: use `split="test"`')
        if not self._skips_bad:
            require_readable(source)
            return source
        source, reasons = without_unreadable(source)
        self.left_out += reasons
        return source

    def context(self, weights: Weights, device: torch.device) -> EvalContext:
        """Return what evaluators work with."""
        return EvalContext(weights, device, cache(partial(self.open, "train")), self._opener.store)


def evaluate_generators(
    subject: Path,
    artifacts: Mapping[str, Artifact],
    names: list[str],
    splits: Splits,
    split: str,
    context: EvalContext,
    batch_size: int | None,
) -> Evaluation:
    """Return the metrics of saved generators by evaluators of these names, on a split of their data.

    Raises:
        GccError: the data, the evaluators or the weights cannot be used.
    """
    architecture = next(iter(artifacts.values())).architecture
    source = splits.open(split)
    collection = EvaluatorCollection(names, context, paired=architecture.paired)
    context.weights.require_asked()
    batch_size = batch_size or min(architecture.recipe.batch_size, LARGEST_BATCH)
    evaluation = SplitEvaluation(collection, architecture, source, batch_size)
    evaluation.check()
    values = evaluation.evaluate({name: artifact.network().to(context.device) for name, artifact in artifacts.items()})
    metrics = {generator: metrics_of(values[generator], evaluation.protocols[generator]) for generator in values}
    return Evaluation(str(subject), splits.name, split, metrics, environment(context.device), splits.left_out)


def data_to_evaluate_on(artifact: Artifact, data: Path | None, dataset: str | None) -> RunData:
    """Return the data to evaluate a generator on: those that the user gives, else those of its run.

    Raises:
        GccError: they are unknown, or the folder is not there any more.
    """
    if data is not None or (dataset is not None and DATASETS.load(dataset).generated):
        return RunData(data, dataset)
    if known := data_of(artifact.folder):
        if known.folder is not None and not known.folder.exists():
            raise DataError(
                f"{known.folder}, the data of the run of {artifact.folder}, does not exist: if it has moved, name it with `data`"
            )
        return replace(known, dataset=dataset or known.dataset)
    if generated := artifact.environment.get(GENERATED):
        return RunData(None, generated)
    raise GccError(f"{artifact.folder} {why_unknown(artifact.folder)}: give `data`")

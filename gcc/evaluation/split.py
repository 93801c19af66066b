"""Metrics of generators on one split of the data."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from gcc.data.loader import SampleZ, add_z, in_order
from gcc.errors import GccError, first_line
from gcc.evaluation.collection import EvaluatorCollection, FeatureBuffer, ImageCounts
from gcc.evaluation.real_features import RealFeatures
from gcc.models.build import generators_on_meta
from gcc.models.modules import evaluating, without_autocast
from gcc.recipe import RGB
from gcc.registry import Architecture, Batch, DatasetSource, EvalSample, MetricKey, Networks, Samples
from gcc.utils.backend import without_benchmark
from gcc.utils.distributed import SINGLE_PROCESS, Ranks

T = TypeVar("T")


@contextmanager
def evaluating_generators(generators: Mapping[str, nn.Module]) -> Iterator[None]:
    """Put generators into evaluation mode, and disable gradients and autocast in this context; restore their modes afterwards."""
    with torch.no_grad(), without_benchmark(), without_autocast(), ExitStack() as stack:
        for network in generators.values():
            stack.enter_context(evaluating(network))
        yield


def load_samples(source: DatasetSource, sample_z: SampleZ, indices: Sequence[int], device: torch.device) -> Batch:
    """Return previews of a source's samples as one batch on the device."""
    samples = [add_z(source.preview(index), sample_z, np.random.default_rng(index)) for index in indices]
    return {key: torch.stack([sample[key] for sample in samples]).to(device) for key in samples[0]}


def evenly_spaced(count: int, total: int) -> list[int]:
    """Return `count` evenly spaced numbers from 0 to below `total`.

    >>> evenly_spaced(3, 10)
    [0, 3, 6]
    """
    return [number * total // count for number in range(count)]


def eval_samples_on_meta(architecture: Architecture[Any], batch: Batch) -> dict[str, EvalSample]:
    """Return the evaluators' input for each generator on a batch; the tensors have shapes without values.

    Raises:
        GccError: a generator does not run on these shapes.
    """
    generators = generators_on_meta(architecture, dict.fromkeys(architecture.generators, architecture.full_widths(1)))
    with torch.device("meta"), torch.no_grad():
        shapes = {key: value.to("meta") for key, value in batch.items()}
        return architecture.eval_samples(shapes, _generated(architecture, generators, shapes))


def _generated(architecture: Architecture[Any], generators: Networks, batch: Batch) -> Samples:
    """Return what generators return for a batch.

    Raises:
        GccError: one does not run on it.
    """
    try:
        return architecture.generate(generators, batch)
    except Exception as error:  # A user's code can raise anything.
        shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in batch.items())
        reason = first_line(error) or type(error).__name__
        raise GccError(f"the generator does not run on a sample with {shapes}: {reason}; give images of a size that it takes") from error


@dataclass
class _Accumulator:
    """Observations and features of one generator's images so far."""

    source: str = ""
    target: str = ""
    finite: bool = True
    channels: int = RGB
    sizes: set[tuple[int, int]] = field(default_factory=set)
    compared: FeatureBuffer = field(default_factory=FeatureBuffer)
    fake: FeatureBuffer = field(default_factory=FeatureBuffer)
    real: FeatureBuffer = field(default_factory=FeatureBuffer)

    def add(self, sample: EvalSample, evaluators: EvaluatorCollection, missing: Mapping[str, Collection[str]]) -> None:
        """Add a batch; its real images only pass the describers in `missing`, which lists names by the images' key."""
        self.source, self.target = sample.source, sample.target
        self.finite = self.finite and bool(sample.fake.isfinite().all())
        self.sizes.add((sample.fake.shape[-2], sample.fake.shape[-1]))
        self.channels = sample.fake.shape[1]
        self.compared.add(evaluators.compare(sample))
        self.fake.add(evaluators.extract(sample.fake, evaluators.extractors))
        self.real.add(evaluators.describe_real(sample, missing[sample.target]))

    def state_dict(self) -> dict[str, Any]:
        """Return the state as nested plain values and tensors."""
        return vars(self) | {"sizes": sorted(self.sizes)}

    @classmethod
    def merged(cls, states: Iterable[Mapping[str, Any]]) -> _Accumulator:
        """Return an accumulator with the states of several processes, in their order."""
        total = cls()
        for state in states:
            total.source, total.target = state["source"] or total.source, state["target"] or total.target
            total.finite = total.finite and state["finite"]
            total.channels = state["channels"] if state["sizes"] else total.channels
            total.sizes |= {(height, width) for height, width in state["sizes"]}
            total.compared.extend(state["compared"])
            total.fake.extend(state["fake"])
            total.real.extend(state["real"])
        return total


class SplitEvaluation:
    """Evaluates generators on one split of the data.

    If the source has named subsets, each has separate metrics, such as `psnr_y (Set5)`. Features of the real images are computed once;
    `RealFeatures` stores them for later runs.

    Args:
        evaluators: the evaluators; generators run on the device of their context, in float32 as a saved generator does.
        architecture: the GAN family.
        source: the samples.
        batch_size: samples in a batch; None means the recipe's batch size.
        ranks: the processes, each of which evaluates a share of the samples; all of them must call `evaluate`.
        workers: processes that read ahead. 0 reads in this process.
    """

    def __init__(
        self,
        evaluators: EvaluatorCollection,
        architecture: Architecture[Any],
        source: DatasetSource,
        batch_size: int | None = None,
        ranks: Ranks = SINGLE_PROCESS,
        workers: int = 0,
    ) -> None:
        self.evaluators = evaluators
        self.architecture = architecture
        self.source = source
        self.batch_size = (batch_size or architecture.recipe.batch_size) if source.uniform else 1
        self.device = evaluators.context.device
        self.ranks = ranks
        self.workers = workers
        self.protocols: dict[str, dict[MetricKey, str]] = {}
        """How each metric was computed, by generator; filled by `evaluate`."""
        self._real = RealFeatures(source, evaluators.describers, evaluators.context.store)

    def check(self) -> None:
        """Let the evaluators refuse images that they could not evaluate: they get a real image of each size and subset as if it were fake.

        Raises:
            GccError: an evaluator refuses one, for example because it is too small.
        """
        if not self.evaluators.by_name:
            return
        for indices in self._subsets.values():
            checked = set()
            sizes = indices[:1] if self.source.uniform else indices
            for batch in in_order(self.source, self.architecture.sample_z, sizes, 1, torch.device("cpu")):
                shapes = tuple(sorted((key, tuple(value.shape)) for key, value in batch.items()))
                if shapes not in checked:
                    checked.add(shapes)
                    self._check(batch, len(indices))

    def _check(self, batch: Batch, count: int) -> None:
        on_device = {key: value.to(self.device) for key, value in batch.items()}
        for sample in eval_samples_on_meta(self.architecture, batch).values():
            fake, real = self._num_unique(sample, count)
            self.evaluators.check(EvalSample(on_device, on_device[sample.target], sample.source, sample.target), fake, real)

    def evaluate(self, generators: Mapping[str, nn.Module]) -> dict[str, dict[MetricKey, float]]:
        """Return the metrics over every sample, by generator; NaN if the generator's output is not finite."""
        metrics: dict[str, dict[MetricKey, float]] = {name: {} for name in generators}
        if self.evaluators.by_name:
            self.evaluators.prepare(self.ranks)
            for subset, indices in self._subsets.items():
                for name, values in self._evaluate_subset(generators, subset, indices).items():
                    metrics[name] |= values
        return metrics

    def _evaluate_subset(
        self, generators: Mapping[str, nn.Module], subset: str, indices: Sequence[int]
    ) -> dict[str, dict[MetricKey, float]]:
        accumulators = {name: _Accumulator() for name in generators}
        missing = self.ranks.broadcast_object({key: self._real.missing(subset, key) for key in self._keys})
        own = self.ranks.shard_items(indices)
        batches = in_order(self.source, self.architecture.sample_z, own, self.batch_size, self.device, self.workers)
        with evaluating_generators(generators):
            for batch in batches:
                for name, sample in self.architecture.eval_samples(batch, self.architecture.generate(generators, batch)).items():
                    accumulators[name].add(sample, self.evaluators, missing)
        metrics: dict[str, dict[MetricKey, float]] = {}
        protocols: dict[str, dict[MetricKey, str]] = {}
        for name, accumulator in accumulators.items():
            if states := self.ranks.gather_object(accumulator.state_dict()):
                metrics[name], protocols[name] = self._compute(subset, len(indices), _Accumulator.merged(states))
        metrics, protocols = self.ranks.broadcast_object((metrics, protocols))
        for name, texts in protocols.items():
            self.protocols.setdefault(name, {}).update(_by_key(texts))
        return {name: _by_key(values) for name, values in metrics.items()}

    def _compute(self, subset: str, count: int, images: _Accumulator) -> tuple[dict[MetricKey, float], dict[MetricKey, str]]:
        # Samples are in order, so those that repeat come last.
        num_fake, num_real = self._num_unique(images, count)
        features = self._real.add(subset, images.target, images.real.concatenated(num_real))
        # Some evaluators would take NaN for black.
        metrics = {MetricKey(name, subset): math.nan for name in self.evaluators.by_name}
        if images.finite:
            metrics = self.evaluators.compute(images.compared.concatenated(), images.fake.concatenated(num_fake), features, subset)
        counts = ImageCounts(num_fake, num_real, images.sizes, channels=images.channels)
        return metrics, {key: self.evaluators.protocol(key, counts, features) for key in metrics}

    def _num_unique(self, images: EvalSample | _Accumulator, count: int) -> tuple[int, int]:
        """Return how many different fake and real images there are among `count` samples."""
        return min(count, self.source.num_unique(images.source)), min(count, self.source.num_unique(images.target))

    @cached_property
    def _keys(self) -> list[str]:
        return list(self.source.sample(0, None))

    @cached_property
    def _subsets(self) -> dict[str, list[int]]:
        subsets: dict[str, list[int]] = {}
        for index in range(len(self.source)):
            subsets.setdefault(self.source.subset(index), []).append(index)
        return subsets


def _by_key(values: Mapping[MetricKey, T]) -> dict[MetricKey, T]:
    """Return values by metric; the keys that another process sends are plain text."""
    return {MetricKey.parse(key): value for key, value in values.items()}

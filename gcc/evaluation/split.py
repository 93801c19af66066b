"""Generators on images that they were not trained on."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from gcc.data.loader import in_order
from gcc.errors import OutputError
from gcc.evaluation.collection import EvaluatorCollection, FeatureBuffer
from gcc.models.modules import evaluating
from gcc.registry import Architecture, Batch, DatasetSource, EvalSample, Extractor
from gcc.utils.distributed import SINGLE_PROCESS, Ranks
from gcc.utils.files import replacing


@contextmanager
def evaluating_generators(generators: Mapping[str, nn.Module]) -> Iterator[None]:
    """Keep generators in evaluation mode and without gradients in this context, and as they were after it."""
    with torch.no_grad(), ExitStack() as stack:
        for network in generators.values():
            stack.enter_context(evaluating(network))
        yield


def load_samples(source: DatasetSource, indices: Sequence[int], device: torch.device) -> Batch:
    """Return samples of a source, as a grid shows them, as one batch on the device."""
    samples = [source.preview(index) for index in indices]
    return {key: torch.stack([sample[key] for sample in samples]).to(device) for key in samples[0]}


def evenly_spaced(count: int, total: int) -> list[int]:
    """Return `count` numbers from 0 to below `total`, evenly spread.

    >>> spread(3, 10)
    [0, 3, 6]
    """
    return [number * total // count for number in range(count)]


@dataclass
class _Accumulator:
    """What the jury saw of one generator: what was observed and the features by the names of evaluators and extractors."""

    source: str = ""
    target: str = ""
    finite: bool = True
    sizes: set[tuple[int, int]] = field(default_factory=set)
    compared: FeatureBuffer = field(default_factory=FeatureBuffer)
    fake: FeatureBuffer = field(default_factory=FeatureBuffer)
    real: FeatureBuffer = field(default_factory=FeatureBuffer)

    def add(self, sample: EvalSample, evaluators: EvaluatorCollection, lacking: Mapping[str, Collection[str]]) -> None:
        """Take in a batch; the features of its real images by the extractors that do not know them yet, by the images' key."""
        self.source, self.target = sample.source, sample.target
        self.finite = self.finite and bool(sample.fake.isfinite().all())
        self.sizes.add((sample.fake.shape[-2], sample.fake.shape[-1]))
        self.compared.add(evaluators.compare(sample))
        self.fake.add(evaluators.extract(sample.fake, evaluators.extractors))
        self.real.add(evaluators.extract(sample.real, lacking[sample.target]))

    def state_dict(self) -> dict[str, Any]:
        """Return all that was seen, as nested plain values and tensors."""
        return vars(self) | {"sizes": sorted(self.sizes)}

    @classmethod
    def of(cls, memories: Iterable[Mapping[str, Any]]) -> _Accumulator:
        """Return what several have seen, in their order."""
        seen = cls()
        for memory in memories:
            seen.source, seen.target = memory["source"] or seen.source, memory["target"] or seen.target
            seen.finite = seen.finite and memory["finite"]
            seen.sizes |= {(height, width) for height, width in memory["sizes"]}
            for gathered, more in ((seen.compared, memory["compared"]), (seen.fake, memory["fake"]), (seen.real, memory["real"])):
                for name, batches in more.items():
                    gathered.setdefault(name, []).extend(batches)
        return seen


class SplitEvaluation:
    """A split of the data, and the jury that judges generators on it.

    Where the source has named parts, each has figures of its own, such as `psnr_y (Set5)`. Features of the real images are computed once,
    and kept in `store` for later runs where the source can be told from every other.

    Args:
        jury: the evaluators.
        architecture: the GAN family.
        source: the samples.
        batch_size: samples that a generator sees at once.
        device: where it runs, in float32 as the saved one will.
        store: folder for the features of real images; none keeps them in memory alone.
        ranks: the processes that each see a part of the samples; all of them must ask.
    """

    def __init__(
        self,
        evaluators: EvaluatorCollection,
        architecture: Architecture[Any],
        source: DatasetSource,
        batch_size: int,
        device: torch.device,
        store: Path | None,
        ranks: Ranks = SINGLE_PROCESS,
    ) -> None:
        self.evaluators = evaluators
        self.architecture = architecture
        self.source = source
        self.batch_size = batch_size if source.uniform else 1
        self.device = device
        self.ranks = ranks
        self.protocols: dict[str, dict[str, str]] = {}
        """How each figure came about, by generator and title; known once there are figures."""
        self._store = store
        self._real: dict[tuple[str, str], dict[str, Tensor]] = {}

    def check(self) -> None:
        """Let the evaluators refuse what they could not judge: of every part, they are shown a true image of each size as if it were made.

        Raises:
            GccError: one of them does, such as an image that is too small.
        """
        if not self.evaluators.by_name:
            return
        for indices in self._parts().values():
            seen = set()
            for index in indices[:1] if self.source.uniform else indices:
                batch = {key: value[None] for key, value in self.source.sample(index, None).items()}
                shapes = tuple(sorted((key, tuple(value.shape)) for key, value in batch.items()))
                if shapes not in seen:
                    seen.add(shapes)
                    self._check(batch, len(indices))

    def _check(self, batch: Batch, count: int) -> None:
        widths = self.architecture.full_widths(1)
        with torch.device("meta"), torch.no_grad():
            generators = {name: self.architecture.build_generator(widths).eval() for name in self.architecture.generators}
            shapes = {key: value.to("meta") for key, value in batch.items()}
            ends = self.architecture.eval_samples(shapes, self.architecture.generate(generators, shapes))
        there = {key: value.to(self.device) for key, value in batch.items()}
        for sample in ends.values():
            fake, real = self._distinct(sample.source, sample.target, count)
            self.evaluators.check(EvalSample(there, there[sample.target], sample.source, sample.target), fake, real)

    def evaluate(self, generators: Mapping[str, nn.Module]) -> dict[str, dict[str, float]]:
        """Return the figures over every sample, by generator and title; NaN where what a generator makes is not finite."""
        metrics: dict[str, dict[str, float]] = {name: {} for name in generators}
        if self.evaluators.by_name:
            for part, indices in self._parts().items():
                for name, found in self._judge(generators, part, indices).items():
                    metrics[name] |= found
        return metrics

    def _judge(self, generators: Mapping[str, nn.Module], part: str, indices: Sequence[int]) -> dict[str, dict[str, float]]:
        seen = {name: _Accumulator() for name in generators}
        lacking = self._lacking(part)
        with evaluating_generators(generators):
            for batch in in_order(self.source, self.ranks.shard_items(indices), self.batch_size, self.device):
                for name, sample in self.architecture.eval_samples(batch, self.architecture.generate(generators, batch)).items():
                    seen[name].add(sample, self.evaluators, lacking)
        metrics: dict[str, dict[str, float]] = {}
        for name, each in seen.items():
            if shares := self.ranks.gather_object(each.state_dict()):
                metrics[name] = self._compute(name, part, len(indices), _Accumulator.of(shares))
        metrics, self.protocols = self.ranks.broadcast_object((metrics, self.protocols))
        return metrics

    def _compute(self, generator: str, part: str, count: int, seen: _Accumulator) -> dict[str, float]:
        # In order, so that what begins again lies at the end.
        fake, real = self._distinct(seen.source, seen.target, count)
        features = self._remember(part, seen.target, seen.real.joined(real))
        # Pixels that are no numbers would become black ones on their way to some evaluators.
        metrics = dict.fromkeys(self.evaluators.by_name, math.nan)
        if seen.finite:
            metrics = self.evaluators.compute(seen.compared.joined(), seen.fake.joined(fake), features)
        protocols = {_title(metric, part): self.evaluators.protocol(metric, fake, real, seen.sizes) for metric in metrics}
        self.protocols.setdefault(generator, {}).update(protocols)
        return {_title(metric, part): figure for metric, figure in metrics.items()}

    def _distinct(self, source: str, target: str, count: int) -> tuple[int, int]:
        """Return how many different images are made and real among `count` samples."""
        return min(count, self.source.num_unique(source)), min(count, self.source.num_unique(target))

    def _lacking(self, part: str) -> dict[str, list[str]]:
        """Return the names of the extractors that do not know a part's real images yet, by the images' key."""
        return self.ranks.broadcast_object(
            {key: sorted(self.evaluators.extractors.keys() - self._known(part, key).keys()) for key in self._keys}
        )

    @cached_property
    def _keys(self) -> list[str]:
        return list(self.source.sample(0, None))

    def _known(self, part: str, target: str) -> dict[str, Tensor]:
        """Return the features of the real images as far as they are known, by extractor."""
        if (part, target) not in self._real:
            self._real[part, target] = {}
            for name, extractor in self.evaluators.extractors.items():
                path = self._path(part, target, extractor)
                if path and path.is_file():
                    try:
                        self._real[part, target][name] = load_file(path)["features"]
                    except (SafetensorError, OSError, KeyError):
                        continue  # Damaged: computed anew.
        return self._real[part, target]

    def _remember(self, part: str, target: str, fresh: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Keep new features of the real images, and return all that are known."""
        known = self._known(part, target)
        for name, features in fresh.items():
            known[name] = features
            path = self._path(part, target, self.evaluators.extractors[name])
            if path:
                # Data that may only be read is judged as well, if more slowly.
                with suppress(OutputError), replacing(path) as file:
                    save_file({"features": features.contiguous()}, file)
        return known

    def _path(self, part: str, target: str, extractor: Extractor) -> Path | None:
        if self._store is None or not self.source.identity:
            return None
        told = sha256(repr((self.source.identity, part, target, extractor.protocol)).encode()).hexdigest()[:16]
        return self._store / f"{extractor.name}-{told}.safetensors"

    def _parts(self) -> dict[str, list[int]]:
        parts: dict[str, list[int]] = {}
        for index in range(len(self.source)):
            parts.setdefault(self.source.subset(index), []).append(index)
        return parts


def _title(metric: str, part: str) -> str:
    return f"{metric} ({part})" if part else metric

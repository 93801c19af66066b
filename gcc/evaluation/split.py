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
from gcc.evaluation.collection import Gathered, Jury
from gcc.models.modules import evaluating
from gcc.registry import Architecture, Batch, Extractor, Judged, SampleSource
from gcc.utils.distributed import ALONE, Ranks
from gcc.utils.files import replacing


@contextmanager
def sampling(generators: Mapping[str, nn.Module]) -> Iterator[None]:
    """Keep generators in evaluation mode and without gradients in this context, and as they were after it."""
    with torch.no_grad(), ExitStack() as stack:
        for network in generators.values():
            stack.enter_context(evaluating(network))
        yield


def shown(source: SampleSource, indices: Sequence[int], device: torch.device) -> Batch:
    """Return samples of a source, as a grid shows them, as one batch on the device."""
    samples = [source.shown(index) for index in indices]
    return {key: torch.stack([sample[key] for sample in samples]).to(device) for key in samples[0]}


def spread(count: int, total: int) -> list[int]:
    """Return `count` numbers from 0 to below `total`, evenly spread.

    >>> spread(3, 10)
    [0, 3, 6]
    """
    return [number * total // count for number in range(count)]


@dataclass
class _Seen:
    """What the jury saw of one generator: what was observed and the features by the names of evaluators and extractors."""

    source: str = ""
    target: str = ""
    finite: bool = True
    sizes: set[tuple[int, int]] = field(default_factory=set)
    compared: Gathered = field(default_factory=Gathered)
    made: Gathered = field(default_factory=Gathered)
    real: Gathered = field(default_factory=Gathered)

    def add(self, judged: Judged, jury: Jury, lacking: Mapping[str, Collection[str]]) -> None:
        """Take in a batch; the features of its real images by the extractors that do not know them yet, by the images' key."""
        self.source, self.target = judged.source, judged.target
        self.finite = self.finite and bool(judged.made.isfinite().all())
        self.sizes.add((judged.made.shape[-2], judged.made.shape[-1]))
        self.compared.add(jury.compare(judged))
        self.made.add(jury.see(judged.made, jury.extractors))
        self.real.add(jury.see(judged.real, lacking[judged.target]))

    def memory(self) -> dict[str, Any]:
        """Return all that was seen, as nested plain values and tensors."""
        return vars(self) | {"sizes": sorted(self.sizes)}

    @classmethod
    def of(cls, memories: Iterable[Mapping[str, Any]]) -> _Seen:
        """Return what several have seen, in their order."""
        seen = cls()
        for memory in memories:
            seen.source, seen.target = memory["source"] or seen.source, memory["target"] or seen.target
            seen.finite = seen.finite and memory["finite"]
            seen.sizes |= {(height, width) for height, width in memory["sizes"]}
            for gathered, more in ((seen.compared, memory["compared"]), (seen.made, memory["made"]), (seen.real, memory["real"])):
                for name, batches in more.items():
                    gathered.setdefault(name, []).extend(batches)
        return seen


class HeldOut:
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
        jury: Jury,
        architecture: Architecture[Any],
        source: SampleSource,
        batch_size: int,
        device: torch.device,
        store: Path | None,
        ranks: Ranks = ALONE,
    ) -> None:
        self.jury = jury
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
        if not self.jury.evaluators:
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
            ends = self.architecture.judged(shapes, self.architecture.generate(generators, shapes))
        there = {key: value.to(self.device) for key, value in batch.items()}
        for judged in ends.values():
            made, real = self._distinct(judged.source, judged.target, count)
            self.jury.check(Judged(there, there[judged.target], judged.source, judged.target), made, real)

    def figures(self, generators: Mapping[str, nn.Module]) -> dict[str, dict[str, float]]:
        """Return the figures over every sample, by generator and title; NaN where what a generator makes is not finite."""
        figures: dict[str, dict[str, float]] = {name: {} for name in generators}
        if self.jury.evaluators:
            for part, indices in self._parts().items():
                for name, found in self._judge(generators, part, indices).items():
                    figures[name] |= found
        return figures

    def _judge(self, generators: Mapping[str, nn.Module], part: str, indices: Sequence[int]) -> dict[str, dict[str, float]]:
        seen = {name: _Seen() for name in generators}
        lacking = self._lacking(part)
        with sampling(generators):
            for batch in in_order(self.source, self.ranks.part(indices), self.batch_size, self.device):
                for name, judged in self.architecture.judged(batch, self.architecture.generate(generators, batch)).items():
                    seen[name].add(judged, self.jury, lacking)
        figures: dict[str, dict[str, float]] = {}
        for name, each in seen.items():
            if shares := self.ranks.gathered(each.memory()):
                figures[name] = self._figures(name, part, len(indices), _Seen.of(shares))
        figures, self.protocols = self.ranks.agreed((figures, self.protocols))
        return figures

    def _figures(self, generator: str, part: str, count: int, seen: _Seen) -> dict[str, float]:
        # In order, so that what begins again lies at the end.
        made, real = self._distinct(seen.source, seen.target, count)
        features = self._remember(part, seen.target, seen.real.joined(real))
        # Pixels that are no numbers would become black ones on their way to some evaluators.
        figures = dict.fromkeys(self.jury.evaluators, math.nan)
        if seen.finite:
            figures = self.jury.figures(seen.compared.joined(), seen.made.joined(made), features)
        protocols = {_title(metric, part): self.jury.protocol(metric, made, real, seen.sizes) for metric in figures}
        self.protocols.setdefault(generator, {}).update(protocols)
        return {_title(metric, part): figure for metric, figure in figures.items()}

    def _distinct(self, source: str, target: str, count: int) -> tuple[int, int]:
        """Return how many different images are made and real among `count` samples."""
        return min(count, self.source.distinct(source)), min(count, self.source.distinct(target))

    def _lacking(self, part: str) -> dict[str, list[str]]:
        """Return the names of the extractors that do not know a part's real images yet, by the images' key."""
        return self.ranks.agreed({key: sorted(self.jury.extractors.keys() - self._known(part, key).keys()) for key in self._keys})

    @cached_property
    def _keys(self) -> list[str]:
        return list(self.source.sample(0, None))

    def _known(self, part: str, target: str) -> dict[str, Tensor]:
        """Return the features of the real images as far as they are known, by extractor."""
        if (part, target) not in self._real:
            self._real[part, target] = {}
            for name, extractor in self.jury.extractors.items():
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
            path = self._path(part, target, self.jury.extractors[name])
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
            parts.setdefault(self.source.part(index), []).append(index)
        return parts


def _title(metric: str, part: str) -> str:
    return f"{metric} ({part})" if part else metric

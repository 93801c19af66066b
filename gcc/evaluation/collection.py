"""Evaluators that are ready to judge: chosen by name, their weights loaded once, their features shared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from gcc.data.images import to_bytes
from gcc.errors import GccError, PluginError
from gcc.registry import EVALUATORS, EvalContext, EvalSample, Evaluator, Extractor, ImageEvaluator, SetEvaluator

FEW = 2048
"""Fewer images than this make a distance between sets unreliable: it grows as they become fewer, and a covariance of 2,048 features loses
its rank."""

Features = Mapping[str, Tensor]
"""What each extractor sees in images, by its name, (N, F) on the CPU."""


class EvaluatorCollection:
    """Evaluators by name, ready to judge any number of generators.

    Args:
        names: of the evaluators.
        around: what they may draw on.
        paired: whether made images have true counterparts.

    Raises:
        GccError: a name is unknown or taken twice, weights are missing, or an evaluator needs counterparts and there are none.
    """

    def __init__(self, names: Sequence[str], context: EvalContext, *, paired: bool) -> None:
        kinds = {name: EVALUATORS.load(name) for name in names}
        for name, kind in kinds.items():
            if issubclass(kind, ImageEvaluator) and not paired:
                raise GccError(f"{name} compares each made image with its true one, and here there is none: choose another, such as fid")
        self.by_name: dict[str, Evaluator] = {name: kind(context) for name, kind in kinds.items()}
        self.extractors: dict[str, Extractor] = {}
        for wanted in dict.fromkeys(one.extractor for one in self.by_name.values() if isinstance(one, SetEvaluator)):
            if wanted.name in self.extractors:
                raise PluginError(f"two extractors are called {wanted.name}: give --evaluators that need one of them")
            self.extractors[wanted.name] = wanted(context)

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Let every evaluator refuse what it could not judge; arguments are those of `Evaluator.check`.

        Raises:
            GccError: one of them does.
        """
        for evaluator in self.by_name.values():
            evaluator.check(sample, fake, real)

    def compare(self, sample: EvalSample) -> dict[str, Tensor]:
        """Return what the evaluators of images observe in a batch, by name, on the CPU."""
        images = {name: one for name, one in self.by_name.items() if isinstance(one, ImageEvaluator)}
        return {name: evaluator.compare(sample).cpu() for name, evaluator in images.items()}

    def extract(self, images: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Return the features of images (N, 3, H, W) in [-1, 1] that the extractors of these names see, on the CPU."""
        pixels = to_bytes(images)
        return {name: self.extractors[name](pixels).cpu() for name in names}

    def compute(self, compared: Mapping[str, Tensor], fake: Features, real: Features) -> dict[str, float]:
        """Return every evaluator's figure of all that was seen, by name."""
        metrics = {}
        for name, evaluator in self.by_name.items():
            if isinstance(evaluator, ImageEvaluator):
                metrics[name] = evaluator.aggregate(compared[name])
            elif isinstance(evaluator, SetEvaluator):
                metrics[name] = evaluator.distance(fake[evaluator.extractor.name], real[evaluator.extractor.name])
        return metrics

    def protocol(
        self, name: str, fake: int, real: int, sizes: Iterable[tuple[int, int]], real_sizes: Iterable[tuple[int, int]] = ()
    ) -> str:
        """Return how a figure came about: numbers and sizes of images, how they were resized, and by which weights they were seen.

        Args:
            name: of the evaluator.
            fake: number of made images.
            real: number of real images.
            sizes: heights and widths of the made ones.
            real_sizes: of the real ones, where they may differ.
        """
        evaluator = self.by_name[name]
        told = dict.fromkeys(_sides(each) for each in (sizes, real_sizes) if each)
        parts = [" against ".join(told)]
        if isinstance(evaluator, SetEvaluator):
            parts = [
                f"{fake:,} made against {real:,} real images",
                *parts,
                self.extractors[evaluator.extractor.name].protocol,
                evaluator.protocol,
            ]
            if min(fake, real) < FEW:
                parts.append(f"fewer than {FEW:,} images: compare it only with figures of the same numbers")
        else:
            parts = [f"{fake:,} images", *parts, evaluator.protocol]
        return ", ".join(filter(None, parts))


def _sides(sizes: Iterable[tuple[int, int]]) -> str:
    sides = sorted({f"{width}x{height}" for height, width in sizes})
    return f"{sides[0]} pixels" if len(sides) == 1 else f"{len(sides)} sizes of images"


class FeatureBuffer(dict[str, list[Tensor]]):
    """Batches by name, put together in the end."""

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Take in a batch."""
        for key, rows in batch.items():
            self.setdefault(key, []).append(rows)

    def joined(self, count: int | None = None) -> dict[str, Tensor]:
        """Return the first `count` rows of everything, or all."""
        return {key: torch.cat(batches)[:count] for key, batches in self.items()}


def split_names(metrics: str) -> list[str]:
    """Return the names in a text that joins them by commas.

    >>> named("fid, kid")
    ['fid', 'kid']
    """
    return [name.strip() for name in metrics.split(",") if name.strip()]

"""The evaluators of an evaluation: loaded by name, with shared feature extractors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from gcc.data.images import to_bytes
from gcc.errors import GccError, PluginError
from gcc.models.channels import as_rgb
from gcc.recipe import RGB
from gcc.registry import EVALUATORS, EvalContext, EvalSample, Evaluator, Extractor, ImageEvaluator, MetricKey, SetEvaluator
from gcc.utils.distributed import Ranks
from gcc.utils.units import counted

FEW = 2048
"""Below this sample size, set distances are biased upwards and the covariance of 2,048 features is singular."""

Features = Mapping[str, Tensor]
"""Features of images by extractor name, each (N, F) on the CPU."""


@dataclass(frozen=True)
class ImageCounts:
    """Numbers and sizes of the images that metrics are computed on.

    Attributes:
        fake: number of fake images.
        real: number of real images.
        sizes: heights and widths of the fake images.
        channels: channels of the fake images.
        real_sizes: heights and widths of the real images if they may differ.
    """

    fake: int
    real: int
    sizes: Collection[tuple[int, int]]
    real_sizes: Collection[tuple[int, int]] = ()
    channels: int = RGB


class EvaluatorCollection:
    """Evaluators by name, for any number of generators.

    Args:
        names: names of the evaluators.
        context: the resources that they may use.
        paired: whether every fake image has a real counterpart.

    Raises:
        GccError: a name is unknown, weights are missing, or an evaluator needs counterparts and there are none.
    """

    def __init__(self, names: Sequence[str], context: EvalContext, *, paired: bool) -> None:
        kinds = {name: EVALUATORS.load(name) for name in names}
        for name, kind in kinds.items():
            if issubclass(kind, ImageEvaluator) and not paired:
                raise GccError(
                    f"{name} compares each fake image with its real counterpart, and this family has none: choose another, such as fid"
                )
        self.context = context
        self.by_name: dict[str, Evaluator] = {name: kind(context) for name, kind in kinds.items()}
        self._unprepared = list(self.by_name)
        self.extractors: dict[str, Extractor] = {}
        for extractor in dict.fromkeys(evaluator.extractor for evaluator in self.by_name.values() if isinstance(evaluator, SetEvaluator)):
            if extractor.name in self.extractors:
                raise PluginError(f"two extractors are called {extractor.name}: give `evaluators` that need one of them")
            self.extractors[extractor.name] = extractor(context)
        self.reporting: dict[str, ImageEvaluator] = {
            name: evaluator for name, evaluator in self.by_name.items() if isinstance(evaluator, ImageEvaluator) and evaluator.reports_real
        }

    @property
    def describers(self) -> dict[str, Extractor | ImageEvaluator]:
        """What describes the real images, whatever is generated: the extractors, and the evaluators that report the metric of these."""
        return {**self.extractors, **self.reporting}

    def check(self, sample: EvalSample, fake: int, real: int) -> None:
        """Let every evaluator refuse images that it could not evaluate; arguments are those of `Evaluator.check`.

        Raises:
            GccError: an evaluator refuses them.
        """
        channels = sample.fake.shape[1]
        for name, evaluator in self.by_name.items():
            if evaluator.needs_rgb and channels not in (1, RGB):
                raise GccError(
                    f"{name} evaluates RGB images, or grey ones, and these have {channels} channels: leave it out, or choose another, such "
                    "as psnr"
                )
            evaluator.check(_for(evaluator, sample), fake, real)

    def prepare(self, ranks: Ranks) -> None:
        """Let every evaluator do its long work, unless it has. All processes of a run must call this before they evaluate images.

        Raises:
            GccError: an evaluator cannot do its work.
        """
        while self._unprepared:
            self.by_name[self._unprepared[0]].prepare(ranks)
            del self._unprepared[0]

    def compare(self, sample: EvalSample) -> dict[str, Tensor]:
        """Return the per-image observations of the image evaluators on a batch, by name, on the CPU."""
        evaluators = {name: evaluator for name, evaluator in self.by_name.items() if isinstance(evaluator, ImageEvaluator)}
        return {name: evaluator.compare(_for(evaluator, sample)).cpu() for name, evaluator in evaluators.items()}

    def describe_real(self, sample: EvalSample, names: Collection[str]) -> dict[str, Tensor]:
        """Return the features of a batch's real images, and their observations in place of the fake ones, on the CPU.

        Args:
            sample: the batch.
            names: names of `describers`.
        """
        real = EvalSample(sample.batch, sample.real, sample.source, sample.target)
        observations = {name: evaluator.compare(_for(evaluator, real)).cpu() for name, evaluator in self.reporting.items() if name in names}
        return self.extract(sample.real, [name for name in names if name in self.extractors]) | observations

    def extract(self, images: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Return the features of RGB or grey images (N, C, H, W) in [-1, 1] by the named extractors, on the CPU."""
        pixels = to_bytes(as_rgb(images))
        return {name: self.extractors[name](pixels).cpu() for name in names}

    def compute(self, compared: Mapping[str, Tensor], fake: Features, real: Features, subset: str = "") -> dict[MetricKey, float]:
        """Return the metric of every evaluator.

        Args:
            compared: observations of all images, by evaluator name.
            fake: features of all fake images.
            real: features of all real images.
            subset: the subset of the split that the images belong to; empty for the whole split.
        """
        metrics = {}
        for name, evaluator in self.by_name.items():
            if isinstance(evaluator, ImageEvaluator):
                metrics[MetricKey(name, subset)] = evaluator.aggregate(compared[name])
            elif isinstance(evaluator, SetEvaluator):
                extractor = evaluator.extractor.name
                metrics[MetricKey(name, subset)] = evaluator.distance(fake[extractor], real[extractor])
        return metrics

    def protocol(self, key: MetricKey, images: ImageCounts, real: Features = MappingProxyType({})) -> str:
        """Return how a metric was computed: numbers and sizes of images, resizing, and trained weights.

        Args:
            key: the metric.
            images: numbers and sizes of the images.
            real: observations of all real images, by the names of the evaluators that report the metric of these.
        """
        evaluator = self.by_name[key.evaluator]
        sizes = " against ".join(dict.fromkeys(_size(sizes) for sizes in (images.sizes, images.real_sizes) if sizes))
        if images.channels != RGB:
            sizes += ", grey repeated as RGB" if evaluator.needs_rgb else f", {counted(images.channels, 'channel')} in place of RGB"
        if not isinstance(evaluator, SetEvaluator):
            parts = [f"{images.fake:,} images", sizes, evaluator.protocol]
            if key.evaluator in self.reporting and key.evaluator in real:
                parts.append(f"the real images reach {self.reporting[key.evaluator].aggregate(real[key.evaluator]):.1f} {evaluator.unit}")
        else:
            extractor = self.extractors[evaluator.extractor.name]
            parts = [f"{images.fake:,} fake against {images.real:,} real images", sizes, extractor.protocol, evaluator.protocol]
            if min(images.fake, images.real) < FEW:
                parts.append(f"fewer than {FEW:,} images: compare it only with metrics of the same numbers of images")
        return ", ".join(filter(None, parts))


def _for(evaluator: Evaluator, sample: EvalSample) -> EvalSample:
    """Return a sample as an evaluator takes it: grey images have three equal channels if it evaluates RGB images."""
    if not evaluator.needs_rgb:
        return sample
    batch = {key: _repeated(value) for key, value in sample.batch.items()}
    return EvalSample(batch, _repeated(sample.fake), sample.source, sample.target)


def _repeated(value: Tensor) -> Tensor:
    """Return grey images, (N, 1, H, W), as RGB, and other tensors as they are."""
    return as_rgb(value) if value.ndim == 4 and value.is_floating_point() and value.shape[1] == 1 else value


def _size(sizes: Iterable[tuple[int, int]]) -> str:
    texts = sorted({f"{width}x{height}" for height, width in sizes})
    return f"{texts[0]} pixels" if len(texts) == 1 else f"{len(texts)} sizes of images"


class FeatureBuffer(dict[str, list[Tensor]]):
    """Batches of rows by name, concatenated at the end."""

    def add(self, batch: Mapping[str, Tensor]) -> None:
        """Append a batch."""
        for name, rows in batch.items():
            self.setdefault(name, []).append(rows)

    def extend(self, other: Mapping[str, Iterable[Tensor]]) -> None:
        """Append the batches of another buffer."""
        for name, batches in other.items():
            self.setdefault(name, []).extend(batches)

    def concatenated(self, count: int | None = None) -> dict[str, Tensor]:
        """Return the first `count` rows by name; all rows if `count` is None."""
        return {name: torch.cat(batches)[:count] for name, batches in self.items()}


def split_names(names: str) -> list[str]:
    """Return the names in a comma-separated text.

    >>> split_names("fid, kid")
    ['fid', 'kid']
    """
    return [name.strip() for name in names.split(",") if name.strip()]

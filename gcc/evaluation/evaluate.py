"""Evaluates saved generators on a data set, or a folder of images against real ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from gcc.artifacts.config import GENERATED, Artifact, Factory
from gcc.artifacts.hub import is_address
from gcc.artifacts.model import environment, holds_saved_generators, read, resolve_location
from gcc.artifacts.run_folder import RunData, continuation, data_of, why_unknown
from gcc.data.folders import describe_unread
from gcc.data.image_files import refuse_bad, unreadable
from gcc.data.images import entries, image_files, images_among, images_below, read_image, to_tensor
from gcc.data.inspection import ImageInfo, describe_changes, describe_misfits, describe_range, inspect_images
from gcc.data.splits import SplitOpener, require_readable, without_unreadable
from gcc.errors import DataError, GccError, PluginError, listed
from gcc.evaluation.collection import EvaluatorCollection, FeatureBuffer, ImageCounts, split_names
from gcc.evaluation.grid import GRID
from gcc.evaluation.split import SplitEvaluation
from gcc.recipe import RGB, Range, parse_range, range_text
from gcc.registry import DATASETS, EVALUATORS, DatasetSource, EvalContext, EvalSample, ImageEvaluator, MetricKey, unit_of
from gcc.utils.device import choose_device
from gcc.utils.distributed import SINGLE_PROCESS
from gcc.utils.units import counted
from gcc.utils.weights import Weights

FAKE, REAL = "fake", "real"
"""Keys of the images of a folder and of their counterparts in a batch."""
LARGEST_BATCH = 64
"""The largest batch that a saved recipe may ask for. Without this limit, the recipe alone would decide how much memory is used."""

SIZES_NAMED = 3
"""The most sizes of images that a message names."""


@dataclass(frozen=True)
class Metric:
    """A quality metric.

    Attributes:
        value: the value, in `unit`.
        unit: the unit, such as "dB"; empty for a number without a unit.
        protocol: how it was computed.
    """

    value: float
    unit: str
    protocol: str


@dataclass(frozen=True)
class Evaluation:
    """The metrics of saved generators or of a folder of images.

    Attributes:
        subject: the generators' folder or the folder of images.
        data: the data set or the folder of real images.
        split: split of the data set; empty for a folder of images.
        metrics: by generator and key.
        environment: the device and the versions of packages.
        left_out: which images were left out, and why.
        range: the values of black and white in images of a folder with more than 8 bits, such as "0..4095"; empty for those of their type.
        changes: what reading the images of a folder changes, such as the bits that it drops, and the range of more than 8 bits; and whether
            the real ones seem to hold A and B side by side.
    """

    subject: str
    data: str
    split: str
    metrics: Mapping[str, Mapping[MetricKey, Metric]]
    environment: Mapping[str, str]
    left_out: Sequence[str] = ()
    range: str = ""
    changes: Sequence[str] = ()


def evaluate(
    subject: Path,
    data: Path | None = None,
    *,
    evaluators: str = "",
    split: str = "test",
    dataset: str | None = None,
    weights: Mapping[str, str | Path] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    skip_bad: bool = False,
    range: str | Sequence[float] | None = None,
    factory: Factory | None = None,
) -> Evaluation:
    """Return the metrics of saved generators, or of a folder of images.

    Args:
        subject: folder of a saved student or teacher, or of images.
        data: for generators the data set, None for that of their run; for images the folder of real ones. Evaluators that compare image by
            image take the real image of the same name.
        evaluators: comma-separated names; empty takes those of the generator's recipe.
        split: `val` or `test`, for generators.
        dataset: name of the data set plugin that reads `data`; None chooses it by the folder's layout.
        weights: files of trained weights by the name of their network.
        device: where to run.
        batch_size: images in a batch; None means the recipe's, at most 64. Images of a folder are read one at a time.
        skip_bad: leave out images that cannot be read instead of raising an error. If the generator's run left them out, its data is
            always read so.
        range: the values of black and white in images of both folders with more than 8 bits, which are then read with all bits, such as
            "0..4095". None means those of the type. A generator is evaluated in the range of its training.
        factory: returns the full generator, such as its class, if the generator is your own; see `gcc.load`.

    Raises:
        GccError: the subject, the data, the evaluators or the weights cannot be used.
    """
    files, on_device = Weights(weights), choose_device(device)
    if holds_images(subject):
        if dataset or split != "test":
            raise GccError(f"{subject} contains images, which are compared with the folder of real ones: leave `dataset` and `split` out")
        value_range = None if range is None else parse_range(range)
        return _evaluate_folder(subject, data, split_names(evaluators), files, on_device, value_range, skip_bad=skip_bad)
    if subject.is_dir() and not holds_saved_generators(subject):
        remedy = continuation(subject) or "its subfolders are not searched for images"
        raise DataError(f"{subject} contains neither images nor a saved generator; {remedy}")
    if range is not None:
        raise GccError(f"{subject} is a saved generator, which is evaluated in the range of its training: leave `range` out")
    subject = subject if is_address(subject) else resolve_location(subject)
    artifacts = _read_all(subject, factory)
    first = next(iter(artifacts.values()))
    names = _required(split_names(evaluators or first.architecture.recipe.evaluators), paired=first.architecture.paired)
    chosen = _data_of(first, data, dataset)
    splits = _Splits(first, replace(chosen, skip_bad=skip_bad or chosen.skip_bad))
    return _evaluate_generators(subject, artifacts, names, splits, split, splits.context(files, on_device), batch_size)


def _read_all(subject: Path, factory: Factory | None) -> dict[str, Artifact]:
    """Return all generators of a saved model by name.

    Raises:
        GccError: one is missing, or cannot be read.
    """
    artifacts = read(subject, factory=factory)
    missing = [name for name in next(iter(artifacts.values())).architecture.generators if name not in artifacts]
    if missing:
        raise GccError(f"{subject} lacks the generator {', '.join(missing)}: give the folder of all generators, such as {subject.parent}")
    return artifacts


class _Splits:
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
            DataError: there is no such split, or a sample cannot be read.
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


def _evaluate_generators(
    subject: Path,
    artifacts: Mapping[str, Artifact],
    names: list[str],
    splits: _Splits,
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
    metrics = {generator: _metrics(values[generator], evaluation.protocols[generator]) for generator in values}
    return Evaluation(str(subject), splits.name, split, metrics, environment(context.device), splits.left_out)


def _data_of(artifact: Artifact, data: Path | None, dataset: str | None) -> RunData:
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


def holds_images(subject: Path) -> bool:
    """Return whether a folder contains images and no saved generator."""
    return subject.is_dir() and bool(_image_files(subject)) and not holds_saved_generators(subject)


def _required(names: list[str], *, paired: bool = True) -> list[str]:
    """Return the names of evaluators if there are any; `paired` says whether every generated image has a real counterpart.

    Raises:
        GccError: there are none.
    """
    if not names:
        usable = (name for name in EVALUATORS.names() if paired or _compares_sets(name))
        raise GccError(f"no evaluators: name some with `evaluators`, of {', '.join(usable)}")
    return names


def _compares_sets(name: str) -> bool:
    """Return whether an evaluator works and needs no real counterpart of each image."""
    try:
        return not issubclass(EVALUATORS.load(name), ImageEvaluator)
    except PluginError:
        return False


def _evaluate_folder(
    fake: Path,
    real: Path | None,
    names: list[str],
    weights: Weights,
    device: torch.device,
    value_range: Range | None,
    *,
    skip_bad: bool,
) -> Evaluation:
    """Return the metrics of a folder of images against a folder of real ones, by evaluators of these names.

    Raises:
        GccError: an image, the evaluators or the weights cannot be used.
    """
    if real is None:
        raise GccError(f"{fake} contains images: give the folder of the real ones with `data`")
    _required(names)
    if not real.is_dir():
        raise DataError(f"{real} is {'a file' if real.exists() else 'not a folder'}: expected the folder of the real images")
    fake_files, real_files = _image_files(fake), _image_files(real)
    bad = unreadable(partial(read_image, channels=RGB, value_range=value_range), [*fake_files, *real_files])
    if not skip_bad:
        refuse_bad([*bad.values()])
    fake_files, real_files = ([path for path in files if path not in bad] for files in (fake_files, real_files))
    if not real_files:
        inside = next(filter(_image_files, sorted(filter(Path.is_dir, entries(real)), key=_is_no_test)), None)
        remedy = f"; give a folder inside it, such as {inside}" if inside else ""
        raise DataError(f"{real} contains no images: expected the real images with which those of {fake} are compared{remedy}")

    def no_training() -> NoReturn:
        raise GccError(f"{', '.join(names)}: one of these trains on training images, but {real} is a folder without splits")

    paired = any(issubclass(EVALUATORS.load(name), ImageEvaluator) for name in names)
    if paired:
        lacking = {path.stem for path in bad if path.parent == real} - {path.stem for path in real_files}
        fake_files = [path for path in fake_files if path.stem not in lacking]
    if not fake_files:
        raise DataError(f"{fake} contains no image that can be evaluated")
    counterparts = _counterparts(fake_files, real_files) if paired else {}
    evaluators = EvaluatorCollection(names, EvalContext(weights, device, no_training), paired=paired)
    weights.require_asked()
    fake_infos, real_infos = (inspect_images(((path, RGB) for path in files), value_range) for files in (fake_files, real_files))
    infos = [*fake_infos, *real_infos]
    if value_range:
        _require_one_type(infos)
    metrics = _evaluate_files(evaluators, fake_files, real_files, counterparts, value_range)
    unread = [text for folder in (fake, real) for text in _describe_unread(folder, [*fake_files, *real_files])]
    left_out = [*bad.values(), *unread]
    sheets = _describe_sheets(real, {info.size for info in fake_infos}, {info.size for info in real_infos})
    changes = [*sheets, *describe_changes(infos), *describe_range(infos, value_range), *describe_misfits(infos, value_range)]
    stated = range_text(value_range) if value_range else ""
    return Evaluation(str(fake), str(real), "", {fake.name: metrics}, environment(device), left_out, stated, changes)


def _require_one_type(images: Sequence[ImageInfo]) -> None:
    """Refuse images of integers and of floating-point numbers, which have other ranges, in one range.

    Raises:
        DataError: both are there.
    """
    kinds = {info.values.kind for info in images if info.values}
    if len({kind.kind == "f" for kind in kinds}) > 1:
        raise DataError(
            f"the images have values of the types {', '.join(sorted(map(str, kinds)))}: expected integers or floating-point numbers alone, "
            "since one `range` is that of both folders; save them alike"
        )


def _describe_sheets(real: Path, fake_sizes: Collection[tuple[int, int]], real_sizes: Collection[tuple[int, int]]) -> list[str]:
    """Return a text about real images that seem to hold A and B: equally high and twice as wide as the generated ones; else nothing."""
    if not real_sizes or not {*real_sizes} <= {(2 * width, height) for width, height in fake_sizes}:
        return []
    sizes = ", ".join(f"{width}x{height}" for width, height in sorted(real_sizes)[:SIZES_NAMED])
    found = f"{real} holds images of {sizes} pixels, twice as wide as the generated ones, and they are compared whole"
    return [f"{found}: if they hold A and B side by side, give a folder of the target halves alone"]


def _describe_unread(folder: Path, images: Collection[Path]) -> list[str]:
    """Return one text about images in subfolders of `folder`, which are not read, and one for each format that is not read."""
    below = len(images_below(folder)) - len(image_files(folder))
    in_subfolders = [f"{counted(below, 'image')} in subfolders of {folder}, which are not searched"] if below else []
    return [*in_subfolders, *(f"in {folder}, {text}" for text in describe_unread([folder], images))]


def _evaluate_files(
    evaluators: EvaluatorCollection,
    fake: Sequence[Path],
    real: Sequence[Path],
    counterparts: Mapping[Path, Path],
    value_range: Range | None,
) -> dict[MetricKey, Metric]:
    """Return the metrics of image files; `counterparts` is empty if no evaluator compares image by image."""
    load = partial(_load_image, device=evaluators.context.device, value_range=value_range)
    evaluators.prepare(SINGLE_PROCESS)
    compared, fake_features, real_features = FeatureBuffer(), FeatureBuffer(), FeatureBuffer()
    sizes: set[tuple[int, int]] = set()
    real_sizes: set[tuple[int, int]] = set()
    with torch.no_grad():
        for path in fake:
            image = load(path)
            counterpart = load(counterparts[path]) if counterparts else image
            if counterpart.shape != image.shape:
                is_pair = counterpart.shape[-2:] == (image.shape[-2], 2 * image.shape[-1])
                halves = "; it seems to hold A and B side by side: give a folder with the target halves" if is_pair else ""
                raise DataError(f"{path} and {counterparts[path]} differ in size: expected images of one size{halves}")
            sample = EvalSample({REAL: counterpart}, image, source=FAKE, target=REAL)
            if not sizes:
                evaluators.check(sample, len(fake), len(real))
            sizes.add((image.shape[-2], image.shape[-1]))
            fake_features.add(evaluators.extract(image, evaluators.extractors))
            compared.add(evaluators.compare(sample))
        for path in real if evaluators.extractors else []:
            image = load(path)
            real_sizes.add((image.shape[-2], image.shape[-1]))
            real_features.add(evaluators.extract(image, evaluators.extractors))
    values = evaluators.compute(compared.concatenated(), fake_features.concatenated(), real_features.concatenated())
    counts = ImageCounts(len(fake), len(real), sizes, real_sizes)
    return _metrics(values, {key: evaluators.protocol(key, counts) for key in values})


def _counterparts(fake: Sequence[Path], real: Sequence[Path]) -> dict[Path, Path]:
    """Return the real image with the same name for every fake one.

    Raises:
        DataError: there is none, or several that only differ in their suffix.
    """
    by_name: dict[str, list[Path]] = {}
    for path in real:
        by_name.setdefault(path.stem, []).append(path)
    if lacking := [path.name for path in fake if path.stem not in by_name]:
        raise DataError(f"{real[0].parent} has no image with the name of {listed(lacking)}: such metrics compare images of the same name")
    for path in fake:
        first, *others = by_name[path.stem]
        if others:
            raise DataError(f"{first} and {others[0].name} have the same name: expected a single real image for {path}")
    return {path: by_name[path.stem][0] for path in fake}


def _image_files(folder: Path) -> list[Path]:
    """Return the image files of a folder, without the grid that `gcc generate` adds."""
    return images_among(path for path in entries(folder) if path.name != GRID and not path.is_dir())


def _is_no_test(folder: Path) -> tuple[bool, str]:
    """Return what puts the folders of test images first, in the order of their names."""
    return not folder.name.startswith("test"), folder.name


def _load_image(path: Path, device: torch.device, value_range: Range | None) -> Tensor:
    return to_tensor(read_image(path, RGB, value_range))[None].to(device)


def _metrics(values: Mapping[MetricKey, float], protocols: Mapping[MetricKey, str]) -> dict[MetricKey, Metric]:
    return {key: Metric(value, unit_of(key), protocols[key]) for key, value in values.items()}

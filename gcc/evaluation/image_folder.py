"""Evaluates a folder of images against a folder of real ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from gcc.artifacts.model import environment, holds_saved_generators
from gcc.data.folders import describe_unread
from gcc.data.image_files import refuse_bad, unreadable
from gcc.data.images import entries, image_files, images_among, images_below, read_image, to_tensor
from gcc.data.inspection import ImageInfo, describe_changes, describe_misfits, describe_range, inspect_images
from gcc.errors import DataError, GccError, listed
from gcc.evaluation.collection import EvaluatorCollection, FeatureBuffer, ImageCounts
from gcc.evaluation.evaluation import Evaluation, Metric, metrics_of
from gcc.evaluation.grid import GRID
from gcc.recipe import RGB, Range, range_text
from gcc.registry import EVALUATORS, EvalContext, EvalSample, ImageEvaluator, MetricKey
from gcc.utils.distributed import SINGLE_PROCESS
from gcc.utils.units import counted
from gcc.utils.weights import Weights

FAKE, REAL = "fake", "real"
"""Keys of the images of a folder and of their counterparts in a batch."""
SIZES_NAMED = 3
"""The most sizes of images that a message names."""


def holds_images(subject: Path) -> bool:
    """Return whether a folder contains images and no saved generator."""
    return subject.is_dir() and bool(_image_files(subject)) and not holds_saved_generators(subject)


def evaluate_folder(
    fake: Path,
    real: Path,
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
    if not real.is_dir():
        raise DataError(f"{real} is {'a file' if real.exists() else 'not a folder'}: expected the folder of the real images")
    paired = any(issubclass(EVALUATORS.load(name), ImageEvaluator) for name in names)
    bad = _unreadable(fake, real, value_range, skip_bad=skip_bad)
    fake_files, real_files = ([path for path in _image_files(folder) if path not in bad] for folder in (fake, real))
    _require_real_images(real, real_files, fake)
    if paired:
        lacking = {path.stem for path in bad if path.parent == real} - {path.stem for path in real_files}
        fake_files = [path for path in fake_files if path.stem not in lacking]
    if not fake_files:
        raise DataError(f"{fake} contains no image that can be evaluated")
    counterparts = _counterparts(fake_files, real_files) if paired else {}

    def no_training() -> NoReturn:
        raise GccError(f"{', '.join(names)}: one of these trains on training images, but {real} is a folder without splits")

    evaluators = EvaluatorCollection(names, EvalContext(weights, device, no_training), paired=paired)
    weights.require_asked()
    fake_infos, real_infos = (inspect_images(((path, RGB) for path in files), value_range) for files in (fake_files, real_files))
    infos = [*fake_infos, *real_infos]
    if value_range:
        _require_one_type(infos)
    metrics = _evaluate_files(evaluators, fake_files, real_files, counterparts, value_range)
    sheets = _describe_sheets(real, {info.size for info in fake_infos}, {info.size for info in real_infos})
    return Evaluation(
        str(fake),
        str(real),
        "",
        {fake.name: metrics},
        environment(device),
        left_out=[*bad.values(), *(text for folder in (fake, real) for text in _describe_unread(folder, [*fake_files, *real_files]))],
        range=range_text(value_range) if value_range else "",
        changes=[*sheets, *describe_changes(infos), *describe_range(infos, value_range), *describe_misfits(infos, value_range)],
    )


def _unreadable(fake: Path, real: Path, value_range: Range | None, *, skip_bad: bool) -> dict[Path, str]:
    """Return which images of two folders cannot be read, and why.

    Raises:
        DataError: there are some, and they are not to be left out.
    """
    files = [*_image_files(fake), *_image_files(real)]
    bad = unreadable(partial(read_image, channels=RGB, value_range=value_range), files)
    if not skip_bad:
        refuse_bad([*bad.values()])
    return bad


def _require_real_images(real: Path, images: Collection[Path], fake: Path) -> None:
    """Refuse a folder without images of its own, and name one inside it that has some.

    Raises:
        DataError: the folder contains no images.
    """
    if images:
        return
    inside = next(filter(_image_files, sorted(filter(Path.is_dir, entries(real)), key=_is_no_test)), None)
    remedy = f"; give a folder inside it, such as {inside}" if inside else ""
    raise DataError(f"{real} contains no images: expected the real images with which those of {fake} are compared{remedy}")


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
    return metrics_of(values, {key: evaluators.protocol(key, counts) for key in values})


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

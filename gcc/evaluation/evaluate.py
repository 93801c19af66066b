"""Judging what was made before: saved generators on a data set, or a folder of images beside real ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from gcc.artifacts.hub import is_address
from gcc.artifacts.model import environment, read
from gcc.data.images import image_files, read_rgb, to_tensor
from gcc.data.splits import DataSplits
from gcc.errors import DataError, GccError, OutputError
from gcc.evaluation.collection import EvaluatorCollection, FeatureBuffer, split_names
from gcc.evaluation.grid import GRID
from gcc.evaluation.split import SplitEvaluation
from gcc.registry import EVALUATORS, EvalContext, EvalSample, ImageEvaluator
from gcc.utils.device import choose_device
from gcc.utils.files import write_text
from gcc.utils.weights import Weights

MADE, REAL = "made", "real"


@dataclass(frozen=True)
class Metric:
    """A figure of quality.

    Attributes:
        value: in `unit`.
        unit: such as "dB"; empty for a bare number.
        protocol: how it came about.
    """

    value: float
    unit: str
    protocol: str


@dataclass(frozen=True)
class Evaluation:
    """Figures of quality, and what they are of.

    Attributes:
        subject: what was judged.
        data: what it was judged on, in words.
        split: of a data set; empty for a folder of images.
        figures: by generator and title.
        environment: the device, and versions of what was used.
        left_out: why images were left out.
    """

    subject: str
    data: str
    split: str
    metrics: Mapping[str, Mapping[str, Metric]]
    environment: Mapping[str, str]
    left_out: Sequence[str] = ()


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
) -> Evaluation:
    """Return figures of quality by generator and title.

    Args:
        subject: folder of a saved student or teacher, or of images.
        data: the data set that a generator is judged on, none for its demo data; or the folder of real images beside which those of
            `subject` are judged, each with the one of its name where the names agree.
        evaluators: names joined by commas; empty takes those of the generator's recipe.
        split: `val` or `test`, of a data set.
        dataset: name of the data set plugin that reads `data`; none to tell from the folder's layout.
        weights: files of trained weights by the name of their network.
        device: where to run.
        batch_size: images that are seen at once; none takes the recipe's. Images of a folder are seen one by one.
        skip_bad: leave out images that cannot be read, instead of refusing them.

    Raises:
        GccError: the subject, the data, the metrics or the weights cannot be used.
    """
    places, place = Weights(weights), choose_device(device)
    if holds_images(subject):
        if dataset or split != "test":
            raise GccError(f"{subject} holds images, which are judged beside the folder of real ones: leave --dataset and --split out")
        return _evaluate_images(subject, data, split_names(evaluators), places, place, skip_bad=skip_bad)
    if subject.is_dir() and not any(subject.glob("**/config.json")):
        raise DataError(f"{subject} holds neither images nor a saved generator; folders in it are not looked into for images")
    artifacts = read(subject)
    architecture = next(iter(artifacts.values())).architecture
    missing = [name for name in architecture.generators if name not in artifacts]
    if missing:
        raise GccError(f"{subject} lacks the generator {', '.join(missing)}: give the folder of the whole side, such as {subject.parent}")
    names = _some(split_names(evaluators or architecture.recipe.evaluators))
    splits = DataSplits(architecture, data, dataset, skip_bad=skip_bad)
    splits.check()
    source = splits.test if split == "test" else splits.validation
    if source is None:
        raise DataError(f"{splits.name} has no validation images beside those of its test split: use --split test")
    collection = EvaluatorCollection(names, EvalContext(places, place, lambda: splits.train, splits.store), paired=architecture.paired)
    places.require_asked()
    evaluation = SplitEvaluation(collection, architecture, source, batch_size or architecture.recipe.batch_size, place, splits.store)
    evaluation.check()
    found = evaluation.evaluate({name: artifact.network().to(place) for name, artifact in artifacts.items()})
    metrics = {
        generator: {title: _figure(collection, title, value, evaluation.protocols[generator][title]) for title, value in values.items()}
        for generator, values in found.items()
    }
    return Evaluation(str(subject), splits.name, split, metrics, environment(place), splits.left_out)


def holds_images(subject: Path) -> bool:
    """Return whether a folder holds images, and no saved generator."""
    return subject.is_dir() and bool(_pictures(subject)) and not any(subject.glob("**/config.json"))


def evaluation_path(subject: Path, split: str, out: Path | None) -> Path:
    """Return where the figures go: `out`, or a file beside what is judged, in the current folder where that is on the Hub.

    Raises:
        OutputError: something else than figures is there.
    """
    suffix = "" if split == "test" else f"-{split}"
    beside = Path(subject.name).resolve() if is_address(subject) else subject.resolve()
    place = out or beside.with_name(f"{beside.name}-evaluation{suffix}.json")
    if place.is_dir():
        raise OutputError(f"{place} is a folder: expected a file, such as {place / 'evaluation.json'}")
    above = next(path for path in place.absolute().parents if path.exists())
    if not above.is_dir():
        raise OutputError(f"{above} is a file, so that {place} cannot be written: choose another --out")
    if place.exists() and not _is_ours(place):
        raise OutputError(f"{place} is there already, and holds no figures: choose another --out, or move it aside")
    return place


def free_path(place: Path, evaluation: Evaluation) -> Path:
    """Return `place`, or with a number behind its name where it holds figures by other metrics or of other data, which are not lost."""
    for number in count(2):
        if not place.exists() or _asked(json.loads(place.read_text(encoding="utf-8"))) == _asked(asdict(evaluation)):
            break
        stem = place.stem if number == 2 else place.stem.rpartition("-")[0]
        place = place.with_name(f"{stem}-{number}{place.suffix}")
    return place


def _asked(told: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what tells the question of an assessment from another's."""
    titles = {generator: sorted(found) for generator, found in told["figures"].items()}
    return told["subject"], told.get("data"), told.get("split"), titles


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write figures as JSON, in which a figure that is no number is null.

    Raises:
        OutputError: the file cannot be written.
    """
    told = asdict(evaluation)
    for found in told["figures"].values():
        for figure in found.values():
            figure["value"] = figure["value"] if math.isfinite(figure["value"]) else None
    write_text(path, json.dumps(told, indent=2) + "\n")


def _is_ours(path: Path) -> bool:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(told, dict) and told.keys() >= {"subject", "figures"}


def _some(names: list[str]) -> list[str]:
    if not names:
        raise GccError(f"no metrics: name some with --evaluators, of {', '.join(EVALUATORS.names())}")
    return names


def _evaluate_images(
    fake: Path, real: Path | None, names: list[str], weights: Weights, device: torch.device, *, skip_bad: bool
) -> Evaluation:
    if real is None:
        raise GccError(f"{fake} holds images: give the folder of the real ones with --data")
    _some(names)
    if not real.is_dir():
        raise DataError(f"{real} is {'a file' if real.exists() else 'no folder'}: expected the folder of the real images")
    left_out: list[str] = []
    files, truth = (_readable(folder, left_out) if skip_bad else _pictures(folder) for folder in (fake, real))
    if not truth:
        raise DataError(f"{real} holds no images: expected the real ones beside which those of {fake} are judged")

    def no_training() -> NoReturn:
        raise GccError(f"{', '.join(names)}: one of these learns from training images, and {real} is a folder without splits")

    paired = any(issubclass(EVALUATORS.load(name), ImageEvaluator) for name in names)
    if skip_bad and paired:
        lost = {path.stem for path in _pictures(real)} - {path.stem for path in truth}
        files = [path for path in files if path.stem not in lost]
    if not files:
        raise DataError(f"{fake} holds no image that can be judged")
    partners = _partners(files, truth) if paired else {}
    evaluators = EvaluatorCollection(names, EvalContext(weights, device, no_training), paired=paired)
    weights.require_asked()
    compared, seen_made, seen_real = FeatureBuffer(), FeatureBuffer(), FeatureBuffer()
    sizes: set[tuple[int, int]] = set()
    real_sizes: set[tuple[int, int]] = set()
    with torch.no_grad():
        for path in files:
            image = _image(path, device)
            true = _image(partners[path], device) if paired else image
            if true.shape != image.shape:
                raise DataError(f"{path} and {partners[path]} differ in size: expected images of one size")
            sample = EvalSample({REAL: true}, image, source=MADE, target=REAL)
            if not sizes:
                evaluators.check(sample, len(files), len(truth))
            sizes.add((image.shape[-2], image.shape[-1]))
            seen_made.add(evaluators.extract(image, evaluators.extractors))
            compared.add(evaluators.compare(sample))
        for path in truth if evaluators.extractors else []:
            image = _image(path, device)
            real_sizes.add((image.shape[-2], image.shape[-1]))
            seen_real.add(evaluators.extract(image, evaluators.extractors))
    values = evaluators.compute(compared.joined(), seen_made.joined(), seen_real.joined())
    protocols = {name: evaluators.protocol(name, len(files), len(truth), sizes, real_sizes) for name in values}
    metrics = {name: _figure(evaluators, name, value, protocols[name]) for name, value in values.items()}
    return Evaluation(str(fake), str(real), "", {fake.name: metrics}, environment(device), left_out)


def _partners(fake: Sequence[Path], real: Sequence[Path]) -> dict[Path, Path]:
    """Return the real image of every made one's name.

    Raises:
        DataError: there is none, or several that differ in their suffix alone.
    """
    by_name: dict[str, list[Path]] = {}
    for path in real:
        by_name.setdefault(path.stem, []).append(path)
    for path in fake:
        match by_name.get(path.stem, []):
            case []:
                raise DataError(f"{real[0].parent} has no image of the name of {path}: such figures compare images of the same name")
            case [one, another, *_]:
                raise DataError(f"{one} and {another.name} have one name: expected a single real image for {path}")
    return {path: by_name[path.stem][0] for path in fake}


def _readable(folder: Path, left_out: list[str]) -> list[Path]:
    """Return the image files of a folder that can be read, and add to `left_out` why others cannot."""
    readable = []
    for path in _pictures(folder):
        try:
            read_rgb(path)
        except DataError as error:
            left_out.append(str(error))
        else:
            readable.append(path)
    return readable


def _pictures(folder: Path) -> list[Path]:
    """Return the image files of a folder, without the grid that `gcc generate` adds."""
    return [path for path in image_files(folder) if path.name != GRID]


def _image(path: Path, device: torch.device) -> Tensor:
    return to_tensor(read_rgb(path))[None].to(device)


def _figure(evaluators: EvaluatorCollection, title: str, value: float, protocol: str) -> Metric:
    return Metric(value, evaluators.by_name[title.partition(" (")[0]].unit, protocol)

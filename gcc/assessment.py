"""Judging what was made before: saved generators on a data set, or a folder of images beside real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from gcc.artifact import read
from gcc.data.images import image_files, read_rgb, to_tensor
from gcc.data.material import Material
from gcc.errors import DataError, GccError
from gcc.evaluation.held_out import HeldOut
from gcc.evaluation.jury import Gathered, Jury, named
from gcc.files import write_text
from gcc.generation import GRID
from gcc.registry import EVALUATORS, Extractor, ImageEvaluator, Judged, Surroundings
from gcc.training.device import choose_device
from gcc.weights import Weights

MADE, REAL = "made", "real"


@dataclass(frozen=True)
class Figure:
    """A figure of quality.

    Attributes:
        value: in `unit`.
        unit: such as "dB"; empty for a bare number.
        protocol: how it came about.
    """

    value: float
    unit: str
    protocol: str


Assessment = Mapping[str, Mapping[str, Figure]]
"""Figures by generator and title."""


def assess(
    subject: Path,
    data: Path | None = None,
    *,
    metrics: str = "",
    split: str = "test",
    dataset: str | None = None,
    weights: Mapping[str, str | Path] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    skip_bad: bool = False,
) -> dict[str, dict[str, Figure]]:
    """Return figures of quality by generator and title.

    Args:
        subject: folder of a saved student or teacher, or of images.
        data: the data set that a generator is judged on, none for its demo data; or the folder of real images beside which those of
            `subject` are judged, each with the one of its name where the names agree.
        metrics: evaluators joined by commas; empty takes those of the generator's recipe.
        split: `val` or `test`, of a data set.
        dataset: name of the data set plugin that reads `data`; none to tell from the folder's layout.
        weights: files of trained weights by the name of their network.
        device: where to run.
        batch_size: images that are seen at once; none takes the recipe's.
        skip_bad: leave out images that cannot be read, instead of refusing them.

    Raises:
        GccError: the subject, the data, the metrics or the weights cannot be used.
    """
    places = Weights(weights)
    place = choose_device(device)
    if subject.is_dir() and _pictures(subject) and not any(subject.glob("**/config.json")):
        if data is None:
            raise GccError(f"{subject} holds images: give the folder of the real ones with --data")
        found = {subject.name: _assess_images(subject, data, named(metrics), places, place)}
        places.require_asked()
        return found
    artifacts = read(subject)
    architecture = next(iter(artifacts.values())).architecture
    missing = [name for name in architecture.generators if name not in artifacts]
    if missing:
        raise GccError(f"{subject} lacks the generator {', '.join(missing)}: give the folder of the whole side, such as {subject.parent}")
    names = named(metrics or architecture.recipe.metrics)
    if not names:
        raise GccError(f"no metrics: name some with --metrics, of {', '.join(EVALUATORS.names())}")
    material = Material(architecture, data, dataset, skip_bad=skip_bad)
    material.check()
    source = material.test if split == "test" else material.validation
    if source is None:
        raise DataError(f"{material.name} has no validation images beside those of its test split: use --split test")
    jury = Jury(names, Surroundings(places, place, lambda: material.train, material.store), paired=architecture.paired)
    places.require_asked()
    held_out = HeldOut(jury, architecture, source, batch_size or architecture.recipe.batch_size, place, material.store)
    figures = held_out.figures({name: artifact.network().to(place) for name, artifact in artifacts.items()})
    return {
        generator: {title: _figure(jury, title, value, held_out.protocols[generator][title]) for title, value in found.items()}
        for generator, found in figures.items()
    }


def save_assessment(path: Path, subject: Path, data: Path | None, assessment: Assessment) -> None:
    """Write figures as JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    figures = {generator: {title: asdict(figure) for title, figure in found.items()} for generator, found in assessment.items()}
    write_text(path, json.dumps({"subject": str(subject), "data": str(data) if data else None, "figures": figures}, indent=2) + "\n")


def _assess_images(made: Path, real: Path, names: Sequence[str], weights: Weights, device: torch.device) -> dict[str, Figure]:
    if not names:
        raise GccError(f"no metrics: name some with --metrics, of {', '.join(EVALUATORS.names())}")
    files, truth = _pictures(made), _pictures(real)
    if not truth:
        raise DataError(f"{real} holds no images: expected the real ones beside which those of {made} are judged")

    def no_training() -> NoReturn:
        raise GccError(f"{', '.join(names)}: one of these learns from training images, and {real} is a folder without splits")

    partners = {path.stem: path for path in truth}
    paired = all(path.stem in partners for path in files)
    strangers = next((path.name for path in files if path.stem not in partners), "")
    if strangers and any(issubclass(EVALUATORS.load(name), ImageEvaluator) for name in names):
        raise DataError(f"{real} has no image of the name of {made / strangers}: such figures compare images of the same name")
    jury = Jury(names, Surroundings(weights, device, no_training), paired=paired)
    compared, seen_made, seen_real = Gathered[str](), Gathered[type[Extractor]](), Gathered[type[Extractor]]()
    sizes = set()
    with torch.no_grad():
        for path, image in _images(files, device):
            sizes.add((image.shape[-2], image.shape[-1]))
            seen_made.add(jury.see(image, jury.extractors))
            if paired:
                true = to_tensor(read_rgb(partners[path.stem]))[None].to(device)
                if true.shape != image.shape:
                    raise DataError(f"{path} and {partners[path.stem]} differ in size: expected images of one size")
                compared.add(jury.compare(Judged({REAL: true}, image, source=MADE, target=REAL)))
        for _, image in _images(truth if jury.extractors else [], device):
            seen_real.add(jury.see(image, jury.extractors))
    figures = jury.figures(compared.joined(), seen_made.joined(), seen_real.joined())
    return {name: _figure(jury, name, value, jury.protocol(name, len(files), len(truth), sizes)) for name, value in figures.items()}


def _pictures(folder: Path) -> list[Path]:
    """Return the image files of a folder, without the grid that `gcc generate` adds."""
    return [path for path in image_files(folder) if path.name != GRID]


def _images(files: Sequence[Path], device: torch.device) -> Iterator[tuple[Path, Tensor]]:
    for path in files:
        yield path, to_tensor(read_rgb(path))[None].to(device)


def _figure(jury: Jury, title: str, value: float, protocol: str) -> Figure:
    return Figure(value, jury.evaluators[title.partition(" (")[0]].unit, protocol)

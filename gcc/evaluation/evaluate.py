"""Evaluates saved generators on a data set, or a folder of images against real ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gcc.artifacts.config import Factory
from gcc.artifacts.hub import is_address
from gcc.artifacts.model import holds_saved_generators, resolve_location
from gcc.artifacts.run_folder import continuation
from gcc.errors import DataError, GccError, PluginError
from gcc.evaluation.collection import split_names
from gcc.evaluation.evaluation import Evaluation
from gcc.evaluation.image_folder import evaluate_folder, holds_images
from gcc.evaluation.saved_generators import Splits, data_to_evaluate_on, evaluate_generators, read_all
from gcc.recipe import parse_range
from gcc.registry import EVALUATORS, ImageEvaluator
from gcc.utils.device import choose_device
from gcc.utils.weights import Weights


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
        if data is None:
            raise GccError(f"{subject} contains images: give the folder of the real ones with `data`")
        value_range = None if range is None else parse_range(range)
        names = _required(split_names(evaluators), EVALUATORS.names())
        return evaluate_folder(subject, data, names, files, on_device, value_range, skip_bad=skip_bad)
    if subject.is_dir() and not holds_saved_generators(subject):
        remedy = continuation(subject) or "its subfolders are not searched for images"
        raise DataError(f"{subject} contains neither images nor a saved generator; {remedy}")
    if range is not None:
        raise GccError(f"{subject} is a saved generator, which is evaluated in the range of its training: leave `range` out")
    subject = subject if is_address(subject) else resolve_location(subject)
    artifacts = read_all(subject, factory)
    first = next(iter(artifacts.values()))
    usable = EVALUATORS.names() if first.architecture.paired else filter(_compares_sets, EVALUATORS.names())
    names = _required(split_names(evaluators or first.architecture.recipe.evaluators), usable)
    chosen = data_to_evaluate_on(first, data, dataset)
    splits = Splits(first, replace(chosen, skip_bad=skip_bad or chosen.skip_bad))
    return evaluate_generators(subject, artifacts, names, splits, split, splits.context(files, on_device), batch_size)


def _required(names: list[str], usable: Iterable[str]) -> list[str]:
    """Return the names of evaluators if there are any; a refusal names those that are usable.

    Raises:
        GccError: there are none.
    """
    if not names:
        raise GccError(f"no evaluators: name some with `evaluators`, of {', '.join(usable)}")
    return names


def _compares_sets(name: str) -> bool:
    """Return whether an evaluator works and needs no real counterpart of each image."""
    try:
        return not issubclass(EVALUATORS.load(name), ImageEvaluator)
    except PluginError:
        return False

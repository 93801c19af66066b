"""Opens the dataset that fits a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from gcc.data.folders import READ, describe_contents, require_folder
from gcc.data.images import subfolders
from gcc.errors import LINE, DataError, PluginError
from gcc.recipe import Recipe
from gcc.registry import DATASETS, DatasetSource

NEARBY = 3
"""Folders that a message suggests."""


def open_source(root: Path | None, samples: str, split: str, recipe: Recipe, demo: str, dataset: str | None = None) -> DatasetSource:
    """Open a dataset.

    Args:
        root: the data folder; None opens the dataset `demo`, which does not need one.
        samples: the kind of samples that the family needs, such as "paired".
        split: `train`, `val` or `test`.
        recipe: the recipe, with the size of the images.
        demo: name of the generated dataset.
        dataset: name of the dataset; None means the one that matches the folder.

    Raises:
        DataError: the folder is missing, empty or a file, no dataset or more than one matches it, or its files do not fit.
        PluginError: the named dataset is unknown or broken.
    """
    if dataset is None and root is None:
        dataset = demo
    if dataset is None:
        dataset = _matching(require_folder(root), samples)
    source = DATASETS.load(dataset)
    if source.samples != samples:
        raise DataError(f"the dataset {dataset!r} gives {source.samples!r} samples: expected {samples!r}; name another with `dataset`")
    try:
        return source(root, split, recipe)
    except DataError as error:
        if root is None or source.generated or _matches(source, root) or not (remedy := _remedy(root, [source])):
            raise
        raise DataError(f"{error}{remedy}") from error


def _matching(root: Path, samples: str) -> str:
    candidates, broken = _candidates(samples)
    matching = [name for name, source in candidates.items() if _matches(source, root)]
    match matching:
        case [name]:
            return name
        case []:
            lines = [
                f"no dataset of {samples} samples fits {root}, which holds {describe_contents(root)}{_remedy(root, candidates.values())}",
                "expected one of these layouts:",
                *(f"- {name}: {_summary(source)}" for name, source in candidates.items()),
                *([f"skipped, because they do not work: {', '.join(broken)}"] if broken else []),
                f"images are read from {READ}",
            ]
            raise DataError(LINE.join(lines))
    raise DataError(f"{root} matches the datasets {' and '.join(matching)}: name one with `dataset`")


def _candidates(samples: str) -> tuple[dict[str, type[DatasetSource]], list[str]]:
    """Return the datasets of this kind by name, and the names of the broken ones."""
    candidates, broken = {}, []
    for name in DATASETS.names():
        try:
            source = DATASETS.load(name)
        except PluginError:
            broken.append(name)
        else:
            if source.samples == samples and not source.generated:
                candidates[name] = source
    return candidates, broken


def _remedy(root: Path, sources: Iterable[type[DatasetSource]]) -> str:
    """Return which folders within or above `root` fit one of the datasets; empty if none does."""
    folders = [*subfolders(root), root.parent] if root.is_dir() else []
    nearby = [f"`data={folder}`" for folder in folders if any(_matches(source, folder) for source in sources)]
    return f" (give {' or '.join(nearby[:NEARBY])}, which fits)" if nearby else ""


def _matches(source: type[DatasetSource], root: Path) -> bool:
    try:
        return source.matches(root)
    except Exception:  # A fault in one plugin must not hide the dataset that fits the folder.
        return False


def _summary(source: type[DatasetSource]) -> str:
    return (source.__doc__ or "").strip().partition("\n")[0].rstrip(".")

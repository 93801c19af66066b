"""Which data set a folder is."""

from __future__ import annotations

from pathlib import Path

from gcc.data.folders import found, require_folder
from gcc.errors import DataError, PluginError
from gcc.recipe import Recipe
from gcc.registry import DATASETS, DatasetSource


def open_source(root: Path | None, samples: str, split: str, recipe: Recipe, demo: str, dataset: str | None = None) -> DatasetSource:
    """Open the data set that fits.

    Args:
        root: the data folder; none takes the data set `demo`, which needs none.
        samples: the kind of samples that is needed, such as "paired".
        split: `train`, `val` or `test`.
        recipe: gives the size of the images.
        demo: name of the data set that is made without a folder.
        dataset: name of the data set; none takes the one that recognises the folder.

    Raises:
        DataError: the folder is missing, empty or no folder, no data set or more than one recognises it, or its files do not fit.
        PluginError: the data set that was named is unknown or broken.
    """
    if dataset is None and root is None:
        dataset = demo
    if dataset is None:
        dataset = _recognised(require_folder(root), samples)
    source = DATASETS.load(dataset)
    if source.samples != samples:
        raise DataError(f"the data set {dataset!r} gives {source.samples!r} samples: expected {samples!r}; name another with --dataset")
    return source(root, split, recipe)


def _recognised(root: Path, samples: str) -> str:
    candidates, broken = _candidates(samples)
    fitting = [name for name, source in candidates.items() if _recognises(source, root)]
    match fitting:
        case [name]:
            return name
        case []:
            layouts = "; ".join(f"{name}: {_summary(source)}" for name, source in candidates.items())
            passed_over = f" (passed over, for they do not work: {', '.join(broken)})" if broken else ""
            raise DataError(f"no data set of {samples} samples fits {root}, which holds {found(root)}. Layouts: {layouts}{passed_over}")
    raise DataError(f"{root} is recognised by the data sets {' and '.join(fitting)}: name one with --dataset")


def _candidates(samples: str) -> tuple[dict[str, type[DatasetSource]], list[str]]:
    """Return the data sets of this kind by name, and the names of the broken ones."""
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


def _recognises(source: type[DatasetSource], root: Path) -> bool:
    try:
        return source.matches(root)
    except Exception:  # A third party's fault must not keep the folder from its own data set.
        return False


def _summary(source: type[DatasetSource]) -> str:
    return (source.__doc__ or "").strip().partition("\n")[0].rstrip(".")

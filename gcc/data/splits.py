"""The data of a run: training samples, validation samples that rank the epochs, and test samples for the reported metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from gcc.data.folders import describe_other_folders, describe_unread
from gcc.data.image_files import ImagesOnDisk, refuse_bad
from gcc.data.inspection import (
    describe_changes,
    describe_halves,
    describe_kept_size,
    describe_misfits,
    describe_range,
    describe_resizing,
    describe_unused_levels,
)
from gcc.data.open import open_source
from gcc.data.torch_datasets import TorchDatasets
from gcc.errors import DataError, listed
from gcc.recipe import data_range, image_size
from gcc.registry import Architecture, DatasetSource
from gcc.utils.units import with_prefix

STORE = ".gcc"
"""Folder inside a data folder for what is computed from its images."""


class SplitOpener:
    """Opens single splits of a data set.

    Args:
        architecture: the GAN family, bound to its recipe.
        root: folder of the images; None means generated data.
        dataset: name of the dataset plugin that reads `root`; None chooses it by the folder's layout, or takes the family's demo data.

    Attributes:
        name: the data, for messages.
        store: folder for what is computed from the images; None for generated data.
    """

    def __init__(self, architecture: Architecture[Any], root: Path | None, dataset: str | None) -> None:
        demo = architecture.demo_source
        self.name = str(root) if root is not None else f"demo data ({dataset or demo}, generated)"
        self.store = None if root is None else root / STORE
        self._open = partial(open_source, root, architecture.samples, recipe=architecture.recipe, demo=demo, dataset=dataset)

    def open(self, split: str) -> DatasetSource:
        """Open `train`, `val` or `test`.

        Raises:
            DataError: the folder is missing, empty or of an unknown layout, or the files of the split do not fit.
            PluginError: the dataset is unknown or broken.
        """
        return self._open(split=split)


class DataSplits:
    """The splits of a run's data.

    Args:
        architecture: the GAN family, bound to its recipe.
        root: folder of the images, or a user's own datasets; None means the family's demo data.
        dataset: name of the dataset plugin that reads `root`; None chooses it by the folder's layout.

    Attributes:
        name: the data, for messages.
        store: folder for what is computed from the images; None if the images are in no folder.
        train: the training samples.
        validation: samples to rank the epochs on; None if the data has no validation images apart from those of `test`.
        test: the samples that the reported metrics are computed on.
        left_out: the reason for every image that `drop_unreadable` left out.
        changes: how reading changes the images, and what is not read, as texts; known after `check` or `drop_unreadable`.
        level_hints: those of the changes that say that images use few of the values of their type.
        is_lossy: whether depth, channels, frames, colours or files are lost, or the images may lack a second half.

    Raises:
        DataError: the folder is missing, empty or of an unknown layout, or its files do not fit.
        PluginError: the dataset is unknown or broken.
    """

    def __init__(self, architecture: Architecture[Any], root: Path | TorchDatasets | None, dataset: str | None) -> None:
        opener = root.bind(architecture) if isinstance(root, TorchDatasets) else SplitOpener(architecture, root, dataset)
        self.name, self.store = opener.name, opener.store
        self._root = root if isinstance(root, Path) else None
        self._fixes_size = architecture.takes_noise
        self._size, self._range = image_size(architecture.recipe), data_range(architecture.recipe)
        self.left_out: list[str] = []
        self.changes: list[str] = []
        self.level_hints: list[str] = []
        self.is_lossy = False
        self.train, self.test, validation = (opener.open(split) for split in ("train", "test", "val"))
        # A note says that one split serves as another. The split that selects the epoch is never the one that is reported.
        self.validation: DatasetSource | None = None if validation.note or self.test.note else validation

    def check(self) -> None:
        """Read every image once.

        Raises:
            DataError: images cannot be used; the message names them.
        """
        require_readable(*self._splits)
        self._inspect()

    def drop_unreadable(self) -> None:
        """Read every image once, and leave out those that cannot be used.

        Raises:
            DataError: a split has no other images.
        """
        self._replace(self._without_bad)
        self._inspect()

    def cache(self) -> None:
        """Decode all images once into `store`, and read them from there.

        Raises:
            DataError: the data is generated, or its images cannot be cached.
            OutputError: the disk is full, or the files cannot be written.
        """
        store = self.store
        if store is None:
            raise DataError(f"{self.name} needs no decoding: leave `cache` out")
        self._replace(lambda source: source.cached(store))

    @property
    def content_digest(self) -> str:
        """A text that identifies the samples of all splits, which copies of their files share; an empty string if it cannot be computed."""
        digests = [split.content_digest for split in self._splits]
        return sha256(" ".join(digests).encode()).hexdigest()[:16] if all(digests) else ""

    def summary(self, size: int | str) -> dict[str, str]:
        """Describe the counts of samples, the cache and the omitted images, by title.

        Args:
            size: of the images, such as 256 or `512x256`.
        """
        counts = f"{len(self.train)} samples to train, {len(self.test)} held out"
        if self.validation is not None:
            counts += f", {len(self.validation)} to choose the best epoch"
        summary = {"data": f"{self.name}: {counts}, {size} pixels"}
        caches = {path for split in self._splits if (path := split.cache_path)}
        if caches:
            bytes_cached = with_prefix(sum(path.stat().st_size for path in caches))
            summary["cache"] = f"{bytes_cached}B of decoded images in {self.store}"
        if self.changes:
            summary["images"] = "; ".join(self.changes)
        if self.left_out:
            summary["left out"] = listed(self.left_out)
        return summary

    @property
    def _splits(self) -> list[DatasetSource]:
        return [split for split in (self.train, self.validation, self.test) if split is not None]

    def _inspect(self) -> None:
        sources = [split for split in self._splits if isinstance(split, ImagesOnDisk)]
        images = [image for source in sources for image in source.inspect()]
        folders = {folder for source in sources for folder in source.folders}
        unread = describe_unread(folders, {path for source in sources for path in source.paths})
        if self._root is not None and sources:
            unread += describe_other_folders(self._root, folders)
        part = sources[0].resized_part if sources else ""
        resizing = describe_resizing(images, self._size, part) if any(source.resizes for source in sources) else []
        if resizing and not self._fixes_size:
            resizing += describe_kept_size(images, self._size)
        misfits, halves = describe_misfits(images, self._range), describe_halves(images, part)
        self.changes = [*halves, *describe_changes(images), *describe_range(images, self._range), *misfits, *resizing, *unread]
        self.level_hints = [*describe_unused_levels(images), *misfits]
        self.is_lossy = bool(halves or unread or misfits) or any(image.is_lossy for image in images)

    def _replace(self, change: Callable[[DatasetSource], DatasetSource]) -> None:
        self.train, self.test = change(self.train), change(self.test)
        if self.validation is not None:
            self.validation = change(self.validation)

    def _without_bad(self, source: DatasetSource) -> DatasetSource:
        readable, reasons = without_unreadable(source)
        self.left_out += reasons
        return readable


def without_unreadable(source: DatasetSource) -> tuple[DatasetSource, list[str]]:
    """Return a split without the images that cannot be used, and the reason for each of these.

    Raises:
        DataError: no other images exist; the message names those that cannot be used.
    """
    bad = source.check()
    reasons = [reason for _, reason in bad]
    try:
        return (source.drop({number for number, _ in bad}) if bad else source), reasons
    except DataError as error:
        raise DataError(f"{error}: {listed(reasons)}") from error


def require_readable(*sources: DatasetSource) -> None:
    """Refuse splits with images that cannot be used.

    Raises:
        DataError: there are some; the message names them.
    """
    refuse_bad([reason for source in sources for _, reason in source.check()], "samples")

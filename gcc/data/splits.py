"""The data of a run: what trains, what chooses the best epoch, and what the result is measured on."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from gcc.data.open import open_source
from gcc.errors import DataError
from gcc.registry import Architecture, DatasetSource
from gcc.utils.units import with_prefix

STORE = ".gcc"
"""Folder in a data folder for what was computed of its images."""


class DataSplits:
    """The splits of a run's data, one source of samples each.

    Args:
        architecture: the GAN family, bound to its recipe.
        root: folder of the images; none for the family's demo data.
        dataset: name of the data set plugin that reads `root`; none to tell from the folder's layout.
        skip_bad: leave out images that cannot be read, instead of refusing them.

    Attributes:
        train: the training samples.
        validation: samples to choose the best epoch on; none where the data has none of its own beside those of `test`.
        test: the samples that results are measured on.
        left_out: why images were left out.

    Raises:
        DataError: the folder is missing, empty or of no known layout, or its files do not fit.
        PluginError: the data set is unknown or broken.
    """

    def __init__(self, architecture: Architecture[Any], root: Path | None, dataset: str | None, *, skip_bad: bool) -> None:
        self.name = str(root) if root is not None else f"demo data ({architecture.demo_source}, generated)"
        self.store = None if root is None else root / STORE
        self.left_out: list[str] = []
        self._skip_bad = skip_bad
        opened = partial(
            open_source, root, architecture.samples, recipe=architecture.recipe, demo=architecture.demo_source, dataset=dataset
        )
        self.train, self.test, validation = (opened(split=split) for split in ("train", "test", "val"))
        # A note says that one split stands in for another: what chooses must not be what measures.
        self.validation = None if validation.note or self.test.note else validation

    def check(self) -> None:
        """Read every image once.

        Raises:
            DataError: some cannot be used, and are not to be left out.
        """
        self.train, self.test = self._without_bad(self.train), self._without_bad(self.test)
        if self.validation is not None:
            self.validation = self._without_bad(self.validation)

    def decode(self) -> None:
        """Keep all images decoded beside the data, and read them from there.

        Raises:
            DataError: the data is made, or its images cannot be kept.
            OutputError: there is no room for them, or they cannot be written.
        """
        if self.store is None:
            raise DataError(f"{self.name} is made and decodes nothing: leave --cache out")
        self.train, self.test = self.train.cached(self.store), self.test.cached(self.store)
        if self.validation is not None:
            self.validation = self.validation.cached(self.store)

    def facts(self, size: int) -> dict[str, str]:
        """Return what there is, as texts by title."""
        counts = f"{len(self.train)} samples to train, {len(self.test)} held out"
        if self.validation is not None:
            counts += f", {len(self.validation)} to choose the best epoch"
        splits = (self.train, self.validation, self.test)
        kept = {path for split in splits if split is not None and (path := split.cache_path)}
        return {
            "data": f"{self.name}: {counts}, {size} pixels",
            **({"cache": f"{with_prefix(sum(path.stat().st_size for path in kept))}B of decoded images in {self.store}"} if kept else {}),
            **({"left out": "; ".join(self.left_out)} if self.left_out else {}),
        }

    def _without_bad(self, source: DatasetSource) -> DatasetSource:
        bad = source.check()
        if not bad:
            return source
        if self._skip_bad:
            self.left_out += [reason for _, reason in bad]
            return source.drop({number for number, _ in bad})
        count = f"{len(bad)} samples cannot be used, such as: " if len(bad) > 1 else ""
        raise DataError(f"{count}{bad[0][1]} (--skip-bad leaves bad images out)")

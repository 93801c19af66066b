"""Features and observations of real images, computed once for each extractor and evaluator."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from gcc.errors import OutputError
from gcc.registry import DatasetSource, Extractor, ImageEvaluator
from gcc.utils.files import replacing


class RealFeatures:
    """Features of a source's real images, by subset and key; stored in a folder for later runs if the source has an identity.

    Args:
        source: the samples.
        describers: the extractors, and the evaluators that report the metric of real images, by name.
        store: the folder; None keeps the features in memory only.
    """

    def __init__(self, source: DatasetSource, describers: Mapping[str, Extractor | ImageEvaluator], store: Path | None) -> None:
        self.source = source
        self.describers = describers
        self.store = store
        self._features: dict[tuple[str, str], dict[str, Tensor]] = {}

    def known(self, subset: str, key: str) -> dict[str, Tensor]:
        """Return the features that are available for a subset's images `key`, by name."""
        if (subset, key) not in self._features:
            self._features[subset, key] = {}
            for name in self.describers:
                path = self._path(subset, key, name)
                if path and path.is_file():
                    try:
                        self._features[subset, key][name] = load_file(path)["features"]
                    except (SafetensorError, OSError, KeyError):
                        continue  # The file is damaged: compute the features again.
        return self._features[subset, key]

    def missing(self, subset: str, key: str) -> list[str]:
        """Return the names of the describers without available features, sorted."""
        return sorted(self.describers.keys() - self.known(subset, key).keys())

    def add(self, subset: str, key: str, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Store new features by name, and return all that are available."""
        known = self.known(subset, key)
        for name, rows in features.items():
            known[name] = rows
            path = self._path(subset, key, name)
            if path:
                # A read-only data folder must not stop the evaluation.
                with suppress(OutputError), replacing(path) as file:
                    save_file({"features": rows.contiguous()}, file)
        return known

    def _path(self, subset: str, key: str, name: str) -> Path | None:
        if self.store is None or not self.source.identity:
            return None
        digest = sha256(repr((self.source.identity, subset, key, self.describers[name].protocol)).encode()).hexdigest()[:16]
        return self.store / f"{name}-{digest}.safetensors"

"""What the checks share."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from gcc.errors import PluginError
from gcc.models.modules import Widths
from gcc.registry import ARCHITECTURES, Architecture, Networks
from gcc.registry.renamed import AcceptsOldNames, to_rename


def warn_of_old_names(plugin: type[AcceptsOldNames]) -> None:
    """Warn of every member that the plugin defines under the name it had in version 0.1, which this version still accepts."""
    for old, new in to_rename(plugin).items():
        warnings.warn(f"{plugin.__name__}.{old} is now called {new}: rename it", DeprecationWarning, stacklevel=3)


def working_families() -> Iterator[type[Architecture[Any]]]:
    """Yield the working families."""
    for listing in ARCHITECTURES.listings():
        if listing.fault is None:
            yield ARCHITECTURES.load(listing.name)


def prunable_widths(architecture: Architecture[Any]) -> Mapping[str, Widths]:
    """Return all widths of the generators that the first step prunes, by generator."""
    return {name: architecture.full_widths(architecture.recipe.prune_width) for name in architecture.generators}


def random_batch(architecture: Architecture[Any]) -> dict[str, Tensor]:
    """Return a batch of two with random images in [-1, 1]."""
    random_numbers = torch.Generator().manual_seed(0)
    batch = architecture.example_batch()
    return {
        key: torch.rand(2, *value.shape[1:], generator=random_numbers) * 2 - 1 if value.is_floating_point() else value
        for key, value in batch.items()
    }


def check_taps(paths: tuple[str, ...], networks: Networks) -> None:
    """Check that each path is a module of every network.

    Raises:
        PluginError: one is not.
    """
    for name, network in networks.items():
        missing = set(paths) - {path for path, _ in network.named_modules()}
        require(not missing, f"taps {sorted(missing)} are not modules of {name}")


def require(holds: bool, message: str) -> None:
    """Raise a `PluginError` with the message unless a condition holds."""
    if not holds:
        raise PluginError(message)

"""An entry of the catalogue: how a network is built, and what it is run on."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

JITTER = 0.01
"""Noise on every parameter, as a share of its standard deviation (of one, for constants): no gain is zero, no two channels are equal."""


@dataclass(frozen=True)
class Repository:
    """A public repository of code at a fixed commit.

    Attributes:
        name: owner and name at GitHub.
        commit: the commit.
        paths: folders that its modules are imported from.
    """

    name: str
    commit: str
    paths: tuple[str, ...] = (".",)

    @property
    def folder(self) -> str:
        return self.name.replace("/", "+")

    def activate(self, repositories: Path | None) -> None:
        """Let its modules be imported.

        Raises:
            FileNotFoundError: it was not exported to the folder of repositories.
        """
        if repositories is None or not (repositories / self.folder).is_dir():
            raise FileNotFoundError(f"{self.name} at {self.commit[:12]} is not at --repos/{self.folder}")
        sys.path[:0] = [str(repositories / self.folder / path) for path in self.paths]


@dataclass(frozen=True)
class Network:
    """A network of the catalogue.

    Attributes:
        name: its name.
        source: the package or repository.
        factory: `module:attribute` of a callable that returns the network, or a function that imports and calls it.
        example: returns its arguments.
        arguments: keyword arguments of the factory.
    """

    name: str
    source: str | Repository
    factory: str | Callable[..., nn.Module]
    example: Callable[[], tuple[Any, ...]]
    arguments: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def origin(self) -> str:
        return self.source if isinstance(self.source, str) else f"{self.source.name}@{self.source.commit[:12]}"

    def build(self, repositories: Path | None) -> nn.Module:
        """Return the network in evaluation mode, with random weights that are always the same."""
        if isinstance(self.source, Repository):
            self.source.activate(repositories)
        torch.manual_seed(0)
        network = (attribute(self.factory) if isinstance(self.factory, str) else self.factory)(**self.arguments)
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.is_floating_point():
                    deviation = float(parameter.std()) if parameter.numel() > 1 else 0.0
                    parameter.add_(torch.randn_like(parameter), alpha=JITTER * (deviation or 1.0))
        return network.eval()

    def inputs(self) -> tuple[Any, ...]:
        torch.manual_seed(1)
        return self.example()


def attribute(path: str) -> Any:
    """Import what `module:attribute` names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def noise(*shapes: tuple[int, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that draws a tensor of each shape from the unit interval."""
    return lambda: tuple(torch.rand(shape) for shape in shapes)


def image(size: int, channels: int = 3) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that draws a square image."""
    return noise((1, channels, size, size))

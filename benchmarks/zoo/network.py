"""An entry of the catalogue: how a network is built, and what it is run on."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import MappingProxyType
from typing import Any
from unittest.mock import MagicMock

import numpy as np
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
        unneeded: packages that its modules import and its networks do not use.
    """

    name: str
    commit: str
    paths: tuple[str, ...] = (".",)
    unneeded: tuple[str, ...] = ()

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
        sys.modules.update((name, MagicMock(__path__=[], __spec__=ModuleSpec(name, None))) for name in self.unneeded)


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


def defined(path: str, name: str, **names: Any) -> Any:
    """Return a class or function of a script, without running the script.

    Args:
        path: the script, from one of the folders that modules are imported from.
        name: the class.
        names: what the class reads from the script.
    """
    file = next(Path(folder, path) for folder in sys.path if Path(folder, path).is_file())
    definitions = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    scope = {"nn": nn, "torch": torch, "F": nn.functional, "np": np, "__name__": "script", **names}
    exec(compile(ast.Module(definitions, []), str(file), "exec"), scope)
    return scope[name]


def noise(*shapes: tuple[int, ...]) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that draws a tensor of each shape from the unit interval."""
    return lambda: tuple(torch.rand(shape) for shape in shapes)


def image(size: int, channels: int = 3) -> Callable[[], tuple[Tensor, ...]]:
    """Return a function that draws a square image."""
    return noise((1, channels, size, size))

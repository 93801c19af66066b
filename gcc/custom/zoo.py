"""Restoration networks of spandrel (extra `zoo`), which tells their architecture from the names and shapes of their weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gcc.errors import ArtifactError, GccError, abridged, first_line
from gcc.models.value_range import ValueRange
from gcc.utils.memory import free_memory
from gcc.utils.optional import needed
from gcc.utils.weights import read_state_dicts

VALUE_RANGE: ValueRange = (0.0, 1.0)
"""The values of black and white to every network of spandrel."""
PREFERRED = ("params_ema", "params-ema", "params", "state_dict", "model_state_dict", "model", "net", "")
"""Keys of the state dict to read in a checkpoint with several, the first one that it has: the averaged weights, as spandrel does."""
LEAST_SIZE = 64
"""The least height and width of the example."""


@dataclass(frozen=True)
class ZooNetwork:
    """A network of spandrel, by which it can be made again.

    Attributes:
        architecture: the id of its architecture in spandrel.
        network: the name of its class there.
        hyperparameters: the arguments of the class.
    """

    architecture: str
    network: str
    hyperparameters: Mapping[str, Any]

    def build(self) -> nn.Module:
        """Return a new network.

        Raises:
            GccError: spandrel is not installed, does not have this network, or refuses the arguments.
        """
        found = _classes(self.architecture).get(self.network)
        if found is None:
            raise GccError(f"spandrel has no network {self.network!r} of architecture {self.architecture!r}: update spandrel")
        self._require_memory(found)
        try:
            network: nn.Module = found(**self.hyperparameters)
        except Exception as error:  # A constructor can raise anything.
            raise GccError(f"spandrel's {self.network} refuses its hyperparameters: {type(error).__name__}: {first_line(error)}") from error
        return network

    def _require_memory(self, network: type[nn.Module]) -> None:
        """Refuse hyperparameters whose weights do not fit into memory, if the network can be built without values.

        Raises:
            GccError: they do not.
        """
        try:
            with torch.device("meta"):
                needed = sum(tensor.numel() * tensor.element_size() for tensor in network(**self.hyperparameters).state_dict().values())
        except Exception:  # A constructor can raise anything; `build` explains it.
            return
        free = free_memory(torch.device("cpu"))
        if free is not None and needed > free:
            raise GccError(f"spandrel's {self.network} needs {needed / 1e9:.1f} GB, but {free / 1e9:.1f} GB are free")

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return {"architecture": self.architecture, "network": self.network, "hyperparameters": dict(self.hyperparameters)}

    @classmethod
    def parse(cls, value: Any) -> ZooNetwork:
        """Return the network that `to_json` described; the values come from a file.

        Raises:
            ArtifactError: a value is damaged.
        """
        names = ("architecture", "network", "hyperparameters")
        if not isinstance(value, dict) or value.keys() != set(names):
            raise ArtifactError(f"zoo = {value!r}: expected exactly {', '.join(names)}")
        texts = (value["architecture"], value["network"])
        if not all(isinstance(text, str) and text.isidentifier() for text in texts) or not isinstance(value["hyperparameters"], dict):
            raise ArtifactError(f"zoo = {value!r}: expected two names and a table of hyperparameters")
        return cls(*texts, value["hyperparameters"])


@dataclass(frozen=True)
class ZooModel:
    """A network of spandrel with its trained weights.

    Attributes:
        network: the network.
        description: how it is made again.
        scale: the factor by which height and width grow.
        channels: the channels of its input.
        size: the height and width of an example that it takes.
    """

    network: nn.Module
    description: ZooNetwork
    scale: int
    channels: int
    size: int


def read_zoo_model(file: Path, key: str = "") -> ZooModel:
    """Return the network of a file of weights whose architecture spandrel knows; tensors alone are read.

    Args:
        file: the weights, as `.pth` or `.safetensors`.
        key: where they are in a checkpoint. Empty takes the averaged ones, if there are several.

    Raises:
        ArtifactError: the file cannot be read, or spandrel does not know the architecture.
        GccError: spandrel is not installed.
    """
    try:
        registry = _registry()
    except GccError as error:
        raise GccError(f"{error}; or give the code of your own generator with `generator`") from error
    tensors = _chosen(file, read_state_dicts(file), key)
    try:
        descriptor = registry.load(dict(tensors))
    except Exception as error:  # Detection and constructors can raise anything.
        reason = first_line(error) or type(error).__name__
        raise ArtifactError(
            f"{file} is not a network that spandrel knows ({reason}); its first tensors are {abridged(tensors)}: for your own "
            "network, give its code with `generator`"
        ) from error
    network = descriptor.model
    names = {kind: name for name, kind in _classes(descriptor.architecture.id).items()}
    plain = json.loads(json.dumps(network.hyperparameters))
    description = ZooNetwork(descriptor.architecture.id, names[type(network)], plain)
    multiple = max(1, descriptor.size_requirements.multiple_of)
    least = max(LEAST_SIZE, descriptor.size_requirements.minimum)
    return ZooModel(network, description, descriptor.scale, descriptor.input_channels, -(-least // multiple) * multiple)


def _chosen(file: Path, state_dicts: Mapping[str, dict[str, Tensor]], key: str) -> dict[str, Tensor]:
    if key and key not in state_dicts:
        raise ArtifactError(f"{file} has no state dict at the key {key!r}: it has {abridged(filter(None, state_dicts))}")
    if len(state_dicts) == 1:
        return next(iter(state_dicts.values()))
    found = key or next((name for name in PREFERRED if name in state_dicts), None)
    if found is None:
        raise ArtifactError(f"{file} contains several state dicts: choose one of {abridged(state_dicts)} with `key`")
    return state_dicts[found]


def _registry() -> Any:
    with needed("a network that its weights describe", "spandrel", "zoo"):
        from spandrel import MAIN_REGISTRY
    return MAIN_REGISTRY


def _classes(architecture: str) -> dict[str, type[nn.Module]]:
    """Return the networks of one of spandrel's architectures by name; none if spandrel does not know the architecture."""
    known = next((one.architecture for one in _registry().architectures() if one.architecture.id == architecture), None)
    module = {} if known is None else vars(import_module(type(known).__module__))
    return {name: kind for name, kind in module.items() if isinstance(kind, type) and issubclass(kind, nn.Module)}

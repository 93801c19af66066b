"""The `config.json` of a saved generator: what it contains, and how it is validated."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gcc.artifacts.fingerprint import parse_fingerprint, require_same_outputs
from gcc.artifacts.tensors import load_network
from gcc.errors import ArtifactError, GccError, suggestion
from gcc.models.build import generator_on_meta
from gcc.models.modules import Widths
from gcc.recipe import RGB, Recipe, changed, current_names
from gcc.registry import ARCHITECTURES, TASKS, Architecture, MetricKey
from gcc.utils.json_text import json_text
from gcc.utils.memory import free_memory

FORMAT = 1
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
ORIGIN = "architecture"
"""The entry of the environment that names the distribution which provides the architecture."""
GENERATED = "generated data"
"""The entry of the environment that names the dataset of a run on generated data; a run on a user's data has none."""
WIDTHS_FROM = "widths from"
"""The entry of the environment that names the saved student whose widths a run took; a run that searched its widths has none."""
MAX_BYTES = 1 << 20
MAX_WIDTH = 1 << 16
MEASUREMENT_TEXTS = ("resolution", "latency_on")
MEASUREMENT_NUMBERS = ("exact_macs", "paper_macs", "parameters", "latency_ms", "latency_p90_ms")
"""Required measurements of each column, in addition to its metrics."""
LATENCY_BUDGET = {"promised_ms", "promised_on", "ready_ms"}
"""Measurements that only a latency budget adds: the budget, its device, and the latency after `gcc.optimize`; the keys in `config.json`."""
OPTIONAL_MEASUREMENTS = {"epoch", "epoch_note", "protocols", *LATENCY_BUDGET}
"""Measurements that files of earlier versions, or of other budgets, do not have."""
SAVED_MEASUREMENTS = "figures"
"""The key of the measurements in `config.json`, by which version 0.1 reads them."""
NETWORKS = "networks"
"""The key of the description of networks that a user brought; files of installed families do not have it."""
FINGERPRINT = "fingerprint"
"""The key of `Artifact.fingerprint`; files of installed families, and of earlier versions, do not have it."""
Role = Literal["student", "teacher"]
Factory = Callable[[], nn.Module]
"""Makes the full generator that a user brought."""


@dataclass(frozen=True)
class Artifact:
    """A saved generator, as its `config.json` describes it.

    Attributes:
        folder: the folder that it is saved in.
        role: whether it is a student or a teacher.
        arch: name of its architecture.
        generator: which of the architecture's generators it is.
        recipe: the recipe of the run that trained it.
        widths: its channels by width name.
        measurements: by column, such as `teacher`, `student` or `student (best)`: costs with their counters and resolution, latency, and
            metrics on held-out images by `MetricKey`.
        environment: versions and device of the run.
        family: its family: an installed architecture, or that of networks which a user brought.
        fingerprint: what it returned for one input, if a user's code makes it; empty if that was not recorded.
    """

    folder: Path
    role: Role
    arch: str
    generator: str
    recipe: Recipe
    widths: Widths
    measurements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    family: type[Architecture[Any]] | None = None
    fingerprint: Sequence[float] = ()

    @property
    def architecture(self) -> Architecture[Any]:
        """The architecture, bound to the recipe."""
        return (self.family or ARCHITECTURES.load(self.arch))(self.recipe)

    def network(self) -> nn.Module:
        """Return the saved generator in eval mode on the CPU.

        Raises:
            ArtifactError: `model.safetensors` is damaged or does not fit the architecture, or a user's code makes another generator.
        """
        own = self.architecture.for_network(self.generator)
        network = load_network(self.folder / WEIGHTS, partial(own.build_generator, self.widths)).eval()
        if self.fingerprint:
            remedy = f"give what made {self.architecture.describe_networks()['made_by']} as `factory`"
            require_same_outputs(network, self.example_input().shape, self.fingerprint, remedy)
        return network

    def example_input(self) -> Tensor:
        """Return one input of the generator, (1, ...), all zeros."""
        return self.architecture.for_network(self.generator).example_input()

    @property
    def needs_factory(self) -> bool:
        """Whether the code of the full generator is the user's own, which no file contains."""
        networks = self.architecture.describe_networks()
        return bool(networks) and not networks["zoo"]

    @property
    def output_channels(self) -> int:
        """The channels of the images that the generator returns."""
        return int(getattr(self.architecture.for_network(self.generator).recipe, "output_nc", RGB))

    def to_json(self) -> str:
        """Return the text of `config.json`."""
        networks = self.architecture.describe_networks()
        return json_text(
            {
                "format": FORMAT,
                "role": self.role,
                "architecture": self.arch,
                "generator": self.generator,
                "widths": self.widths,
                **({NETWORKS: networks} if networks else {}),
                **({FINGERPRINT: list(self.fingerprint)} if self.fingerprint else {}),
                SAVED_MEASUREMENTS: self.measurements,
                "recipe": self.recipe.to_dict(),
                "environment": self.environment,
            },
            indent=2,
        )


def read_config(folder: Path, factory: Factory | None = None) -> Artifact:
    """Return the generator that the `config.json` of a folder describes; every field is validated.

    Args:
        folder: the folder.
        factory: makes the full generator if a user brought it. None leaves the generator unknown: its description can be read, and its
            network cannot be built.

    Raises:
        ArtifactError: the file is missing, damaged or invalid.
        PluginError: the plugin that provides the architecture is broken.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ArtifactError(f"{path} is not a file")
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ArtifactError(f"{path} is larger than any configuration: expected at most {MAX_BYTES} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"cannot read {path}: {error}") from error
    try:
        return _parse(folder, config, factory)
    except KeyError as error:
        raise ArtifactError(f"{path} is not the configuration of a saved model: it lacks {error}") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ArtifactError(f"{path} is not the configuration of a saved model: {type(error).__name__} {error}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def describes_generator(path: Path) -> bool:
    """Return whether a `config.json` is one of a saved generator, possibly of another version or damaged, and not another program's."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        # A saved generator's that is damaged is reported where it is read.
        return True
    return isinstance(config, dict) and "format" in config


def _parse(folder: Path, config: Any, factory: Factory | None) -> Artifact:
    if config["format"] != FORMAT:
        raise ArtifactError(f"format {config['format']!r} is unknown to this version, which reads {FORMAT}: update gan-gcc")
    if config["role"] not in ("student", "teacher"):
        raise ArtifactError(f"role {config['role']!r}: expected student or teacher")
    environment = {name: _parse_text(name, value) for name, value in _parse_mapping("environment", config["environment"]).items()}
    family = _parse_family(config, environment, factory)
    try:
        architecture = family(changed(family.published(), current_names(config["recipe"])))
    except GccError as error:
        raise ArtifactError(f"recipe: {error}") from error
    if config["generator"] not in family.generators:
        raise ArtifactError(f"generator {config['generator']!r}: expected {' or '.join(family.generators)}")
    widths = _parse_widths(architecture, config["widths"])
    if NETWORKS not in config:
        _require_memory(architecture, widths)
    measurements = {
        _parse_text("column of measurements", column): parse_measurements(column, values)
        for column, values in _parse_mapping(SAVED_MEASUREMENTS, config[SAVED_MEASUREMENTS]).items()
    }
    role, arch, generator = config["role"], config["architecture"], config["generator"]
    known = parse_fingerprint(config.get(FINGERPRINT, []))
    return Artifact(folder, role, arch, generator, architecture.recipe, widths, measurements, environment, family, known)


def _parse_family(config: Any, environment: Mapping[str, str], factory: Factory | None) -> type[Architecture[Any]]:
    """Return an installed architecture, or the family of networks that a user brought."""
    arch = config["architecture"]
    registry = TASKS if NETWORKS in config else ARCHITECTURES
    if arch not in registry.names():
        origin = f" (according to the file, {environment[ORIGIN]}; check that you trust its source)" if ORIGIN in environment else ""
        known = suggestion(str(arch), registry.names())
        raise ArtifactError(f"{registry.kind} {arch!r} is not installed{known}: install the plugin that provides it{origin}")
    if registry is TASKS:
        return TASKS.load(arch).described(_parse_mapping(NETWORKS, config[NETWORKS]), factory)
    if factory is not None:
        raise ArtifactError(f"{arch} is an installed architecture, which needs no `factory`: leave it out")
    return ARCHITECTURES.load(arch)


def _parse_widths(architecture: Architecture[Any], widths: Any) -> Widths:
    known = architecture.widths(architecture.recipe.ngf)
    if not isinstance(widths, dict) or widths.keys() != known.keys():
        raise ArtifactError(f"widths: expected exactly {', '.join(known)}")
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, int) or not known[name].minimum <= width <= MAX_WIDTH:
            raise ArtifactError(f"width {name} = {width!r}: expected a whole number from {known[name].minimum} to {MAX_WIDTH}")
    return widths


def _require_memory(architecture: Architecture[Any], widths: Widths) -> None:
    """Refuse a generator whose layers do not fit into memory at the resolution of its recipe, which no weights bound.

    Raises:
        ArtifactError: a single layer's input and output take more than the free memory.
    """
    needed = 0

    def measure(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal needed
        needed = max(needed, sum(tensor.numel() * tensor.element_size() for tensor in (*inputs, output) if isinstance(tensor, Tensor)))

    network = generator_on_meta(architecture, widths)
    for module in network.modules():
        if not list(module.children()):
            module.register_forward_hook(measure)
    try:
        with torch.device("meta"), torch.no_grad():
            example = architecture.example_input()
            network(example)
    except RuntimeError:
        # A generator that reads values does not run without them: it stays unmeasured.
        return
    free = free_memory(torch.device("cpu"))
    if free is not None and needed > free:
        sizes = [name for name, value in architecture.recipe.to_dict().items() if name.endswith("size") and value in example.shape]
        field = sizes[0] if sizes else "size"
        raise ArtifactError(
            f"recipe: {field} = {getattr(architecture.recipe, field)}: a layer of the generator takes {needed / 1e9:.1f} GB at this size, "
            f"and {free / 1e9:.1f} GB are free: expected the size of the images that it was trained on"
        )


def _parse_mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArtifactError(f"{name} = {value!r}: expected a table")
    return value


def parse_measurements(column: str, value: Any) -> dict[str, Any]:
    """Return the measurements of a column, as JSON gives them back.

    Raises:
        ArtifactError: they are damaged.
    """
    measurements = _parse_mapping(f"measurements of {column}", value)
    required = (*MEASUREMENT_TEXTS, *MEASUREMENT_NUMBERS, "metrics")
    if measurements.keys() - OPTIONAL_MEASUREMENTS != set(required):
        raise ArtifactError(f"measurements of {column}: expected exactly {', '.join(required)}")
    for name in MEASUREMENT_TEXTS:
        _parse_text(name, measurements[name])
    for name in MEASUREMENT_NUMBERS:
        _parse_number(name, measurements[name])
    metrics = {_parse_key(key): _parse_metric(key, value) for key, value in _parse_mapping("metrics", measurements["metrics"]).items()}
    for name in ("epoch", "promised_ms", "ready_ms"):
        _parse_number(name, measurements.get(name, 0))
    for name in ("epoch_note", "promised_on"):
        _parse_text(name, measurements.get(name, ""))
    if (present := measurements.keys() & LATENCY_BUDGET) and present != LATENCY_BUDGET:
        raise ArtifactError(f"measurements of {column}: expected either all or none of {', '.join(sorted(LATENCY_BUDGET))}")
    parsed = measurements | {"metrics": metrics}
    if "protocols" in measurements:
        protocols = _parse_mapping("protocols", measurements["protocols"])
        parsed["protocols"] = {_parse_key(key): _parse_text(key, protocol) for key, protocol in protocols.items()}
    return parsed


def _parse_key(text: Any) -> MetricKey:
    return MetricKey.parse(_parse_text("metric", text))


def _parse_metric(name: str, value: Any) -> Any:
    """Return a metric; null stands for NaN."""
    return math.nan if value is None else _parse_number(name, value)


def _parse_number(name: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArtifactError(f"{name} = {value!r}: expected a number")
    return value


def _parse_text(name: str, value: Any) -> str:
    # Control characters could manipulate a terminal.
    if not isinstance(value, str) or not value.isprintable():
        raise ArtifactError(f"{name} = {value!r}: expected a line of text")
    return value

"""What `config.json` says of a saved generator, and how it is checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torch import nn

from gcc.artifacts.tensors import _restored
from gcc.errors import ArtifactError, GccError, near
from gcc.models.modules import Widths
from gcc.recipe import Recipe, changed, current_names
from gcc.registry import ARCHITECTURES, Architecture

FORMAT = 1
CONFIG = "config.json"
ORIGIN = "architecture"
"""What of the environment tells the distribution that the architecture comes from."""
LARGEST_CONFIG = 1 << 20
WIDEST = 1 << 16
MEASUREMENT_TEXTS = ("resolution", "latency_on")
MEASUREMENT_NUMBERS = ("exact_macs", "paper_macs", "parameters", "latency_ms", "latency_p90_ms")
"""What is told of each side beside its metrics."""
PROMISED = {"promised_ms", "promised_on", "ready_ms"}
"""What is told of a latency that was promised."""
MEASUREMENT_EXTRAS = {"epoch", "protocols", *PROMISED}
"""What files of earlier versions do not tell, and what only those of a latency budget do."""
Role = Literal["student", "teacher"]


@dataclass(frozen=True)
class Artifact:
    """What `config.json` says of a saved generator.

    Attributes:
        folder: where it lies.
        role: which side of the game it is.
        arch: name of its architecture.
        generator: which of the architecture's generators it is.
        recipe: of the run that made it.
        widths: its channels by width name.
        figures: by side, the costs with their counters and resolution, latency, and metrics on held-out images.
        environment: versions and device of the run.
    """

    folder: Path
    role: Role
    arch: str
    generator: str
    recipe: Recipe
    widths: Widths
    measurements: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def architecture(self) -> Architecture[Any]:
        """The architecture, bound to the recipe."""
        return ARCHITECTURES.load(self.arch)(self.recipe)

    def network(self) -> nn.Module:
        """Return the saved generator in eval mode on the CPU.

        Raises:
            ArtifactError: `model.safetensors` is damaged or does not fit the architecture.
        """
        return _restored(self.folder / "model.safetensors", partial(self.architecture.build_generator, self.widths)).eval()

    def to_json(self) -> str:
        """Return the text of `config.json`."""
        return json.dumps(
            {
                "format": FORMAT,
                "role": self.role,
                "architecture": self.arch,
                "generator": self.generator,
                "widths": self.widths,
                "figures": self.measurements,
                "recipe": self.recipe.to_dict(),
                "environment": self.environment,
            },
            indent=2,
        )


def _read_config(folder: Path) -> Artifact:
    path = folder / CONFIG
    if not path.is_file():
        raise ArtifactError(f"{path} is no file")
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ArtifactError(f"{path} is larger than any configuration: expected at most {LARGEST_CONFIG} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"cannot read {path}: {error}") from error
    try:
        return _parse(folder, config)
    except KeyError as error:
        raise ArtifactError(f"{path} is no configuration of a saved model: it lacks {error}") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise ArtifactError(f"{path} is no configuration of a saved model: {type(error).__name__} {error}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def _parse(folder: Path, config: Any) -> Artifact:
    if config["format"] != FORMAT:
        raise ArtifactError(f"format {config['format']!r} is unknown to this version, which reads {FORMAT}: update gan-gcc")
    if config["role"] not in ("student", "teacher"):
        raise ArtifactError(f"role {config['role']!r}: expected student or teacher")
    told = {name: _parse_text(name, value) for name, value in _parse_mapping("environment", config["environment"]).items()}
    if config["architecture"] not in ARCHITECTURES.names():
        origin = f", which it says is {told[ORIGIN]}, if you trust where that comes from" if ORIGIN in told else ""
        raise ArtifactError(
            f"architecture {config['architecture']!r} is not installed{near(str(config['architecture']), ARCHITECTURES.names())}: "
            f"install the plugin that provides it{origin}"
        )
    family = ARCHITECTURES.load(config["architecture"])
    try:
        architecture = family(changed(family.published(), current_names(config["recipe"])))
    except GccError as error:
        raise ArtifactError(f"recipe: {error}") from error
    if config["generator"] not in family.generators:
        raise ArtifactError(f"generator {config['generator']!r}: expected {' or '.join(family.generators)}")
    return Artifact(
        folder,
        config["role"],
        config["architecture"],
        config["generator"],
        architecture.recipe,
        _parse_widths(architecture, config["widths"]),
        {
            _parse_text("side", side): _parse_measurements(side, measurements)
            for side, measurements in _parse_mapping("figures", config["figures"]).items()
        },
        told,
    )


def _parse_widths(architecture: Architecture[Any], widths: Any) -> Widths:
    known = architecture.widths(architecture.recipe.ngf)
    if not isinstance(widths, dict) or widths.keys() != known.keys():
        raise ArtifactError(f"widths: expected exactly {', '.join(known)}")
    for name, width in widths.items():
        if isinstance(width, bool) or not isinstance(width, int) or not known[name].minimum <= width <= WIDEST:
            raise ArtifactError(f"width {name} = {width!r}: expected a whole number from {known[name].minimum} to {WIDEST}")
    return widths


def _parse_mapping(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ArtifactError(f"{name} = {value!r}: expected a table")
    return value


def _parse_measurements(side: str, value: Any) -> dict[str, Any]:
    measurements = _parse_mapping(f"figures of {side}", value)
    if measurements.keys() - MEASUREMENT_EXTRAS != {*MEASUREMENT_TEXTS, *MEASUREMENT_NUMBERS, "metrics"}:
        raise ArtifactError(f"figures of {side}: expected exactly {', '.join((*MEASUREMENT_TEXTS, *MEASUREMENT_NUMBERS, 'metrics'))}")
    for name in MEASUREMENT_TEXTS:
        _parse_text(name, measurements[name])
    for name in MEASUREMENT_NUMBERS:
        _parse_number(name, measurements[name])
    for metric, figure in _parse_mapping("metrics", measurements["metrics"]).items():
        _parse_number(_parse_text("metric", metric), figure)
    for name in ("epoch", "promised_ms", "ready_ms"):
        _parse_number(name, measurements.get(name, 0))
    _parse_text("promised_on", measurements.get("promised_on", ""))
    if (promised := measurements.keys() & PROMISED) and promised != PROMISED:
        raise ArtifactError(f"figures of {side}: expected all of {', '.join(sorted(PROMISED))}, or none")
    for metric, protocol in _parse_mapping("protocols", measurements.get("protocols", {})).items():
        _parse_text(metric, protocol)
    return measurements


def _parse_number(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArtifactError(f"{name} = {value!r}: expected a number")


def _parse_text(name: str, value: Any) -> str:
    # A terminal obeys control characters.
    if not isinstance(value, str) or not value.isprintable():
        raise ArtifactError(f"{name} = {value!r}: expected a line of text")
    return value

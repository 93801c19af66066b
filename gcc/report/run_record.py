"""A run as its folder tells it: recipe, losses over time, saved generators and sample grids."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gcc.artifacts.card import GRID
from gcc.artifacts.config import Artifact, Role
from gcc.artifacts.metrics_log import PHASES
from gcc.artifacts.model import read
from gcc.artifacts.run_folder import RECIPE_FILE
from gcc.errors import RunError
from gcc.recipe import read_toml

Numbers = npt.NDArray[np.float64]
METRICS = "metrics.jsonl"
PLACES = ("phase", "epoch", "step")
"""What every line of `metrics.jsonl` tells beside its values."""
GRID_NAME = re.compile(r"(?P<phase>\w+)_epoch_(?P<epoch>[0-9]{1,9})\.png", re.ASCII)
GRIDS_SHOWN = 4
"""Sample grids, spread over a run, that are read of those that it made."""


@dataclass(frozen=True)
class Series:
    """One value over time, each array (N,).

    Attributes:
        steps: iterations done in the phase.
        epochs: counted from 1.
        values: such as means of a loss over the iterations since the last step.
    """

    steps: Numbers
    epochs: Numbers
    values: Numbers


@dataclass(frozen=True)
class Grid:
    """A picture of samples.

    Attributes:
        title: when it was made.
        png: the bytes of its file.
        width: in pixels.
        height: in pixels.
    """

    title: str
    png: bytes
    width: int
    height: int


@dataclass(frozen=True)
class RunRecord:
    """What the folder of a run holds; a run that goes on, or that trains a teacher alone, has not everything.

    Attributes:
        folder: where it lies.
        arch: name of its architecture.
        recipe: the fields of `recipe.toml` without `arch`.
        series: by phase, in the run's order, and by name, such as `student/G`.
        students: saved generators by name.
        teachers: likewise.
        samples: held-out samples of the sides that were saved, else of the last epoch.
        progress: grids of some epochs, in order.
    """

    folder: Path
    arch: str
    recipe: Mapping[str, Any]
    series: Mapping[str, Mapping[str, Series]]
    students: Mapping[str, Artifact]
    teachers: Mapping[str, Artifact]
    samples: Grid | None
    progress: tuple[Grid, ...]

    @property
    def name(self) -> str:
        """The folder's own name."""
        return self.folder.resolve().name

    @property
    def saved(self) -> Mapping[str, Artifact]:
        """The generators that the run was for: students, else teachers, else none yet."""
        return self.students or self.teachers

    @property
    def state(self) -> str:
        """How far the run is."""
        if self.saved:
            return "finished"
        if not self.series:
            return "not under way yet"
        phase, found = list(self.series.items())[-1]
        return f"not finished: {PHASES.get(phase, phase)}, epoch {max(int(series.epochs[-1]) for series in found.values())}"


def read_run(folder: Path) -> RunRecord:
    """Return what the folder of a run holds.

    Raises:
        RunError: it is no run's folder, or a file in it is damaged.
        RecipeError: its recipe is damaged.
        ArtifactError: a saved generator is damaged.
        PluginError: the architecture of a saved generator is not installed.
    """
    if not (folder / RECIPE_FILE).is_file():
        raise RunError(
            f"{folder} holds no {RECIPE_FILE}, so it is no run's folder: expected what `gcc compress --out` names{_example(folder)}"
        )
    recipe = read_toml(folder / RECIPE_FILE)
    arch = recipe.pop("arch", None)
    if not isinstance(arch, str):
        raise RunError(f'{folder / RECIPE_FILE} names no architecture: expected a line such as arch = "pix2pix"')
    students, teachers = _read_side(folder / "student", "student"), _read_side(folder / "teacher", "teacher")
    progress = _read_progress(folder / "samples")
    held_out = [artifact.folder / GRID for artifact in (students or teachers).values() if (artifact.folder / GRID).exists()]
    samples = _read_grid(held_out[0], "held out") if held_out else next(reversed(progress), None)
    return RunRecord(folder, arch, recipe, _read_series(folder / METRICS), students, teachers, samples, progress)


def _read_side(folder: Path, role: Role) -> dict[str, Artifact]:
    """Return the generators of a side; a configuration is saved last, so that a side without one is not there yet."""
    begun = (folder / "config.json").exists() or any(folder.glob("*/config.json"))
    return read(folder, role) if begun else {}


def _read_series(path: Path) -> dict[str, dict[str, Series]]:
    points: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for phase, epoch, step, values in _lines(path):
        for name, value in values.items():
            points.setdefault(phase, {}).setdefault(name, []).append((step, epoch, value))
    return {phase: {name: Series(*np.array(found).T) for name, found in named.items()} for phase, named in points.items()}


def _lines(path: Path) -> Iterator[tuple[str, float, float, dict[str, float]]]:
    """Yield phase, epoch, step and values of every line; one without an end was torn when the run was stopped, and is passed over."""
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            yield _parse_line(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise RunError(
                f"{path}, line {number} is damaged: expected a JSON object of {', '.join(PLACES)} and numbers by name; take the line out"
            ) from error


def _parse_line(line: Any) -> tuple[str, float, float, dict[str, float]]:
    phase, epoch, step = (line[place] for place in PLACES)
    if not isinstance(phase, str):
        raise TypeError(phase)
    if not math.isfinite(epoch) or not math.isfinite(step):
        raise ValueError(line)
    return phase, _number(epoch), _number(step), {name: _number(value) for name, value in line.items() if name not in PLACES}


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return float(value)


def _read_progress(folder: Path) -> tuple[Grid, ...]:
    order = list(PHASES)
    named = [(match, path) for path in folder.glob("*.png") if (match := GRID_NAME.fullmatch(path.name))]
    known = sorted((order.index(match["phase"]), int(match["epoch"]), path) for match, path in named if match["phase"] in order)
    chosen = sorted({round(place) for place in np.linspace(0, len(known) - 1, GRIDS_SHOWN)}) if known else []
    return tuple(_read_grid(path, f"{PHASES[order[phase]]}, epoch {epoch}") for phase, epoch, path in (known[place] for place in chosen))


def _read_grid(path: Path, title: str) -> Grid:
    try:
        with Image.open(path, formats=["PNG"]) as image:
            size = image.size
            image.verify()
        return Grid(title, path.read_bytes(), *size)
    except MemoryError:
        raise
    except Exception as error:  # Decoders meet damaged files with exceptions of every type.
        raise RunError(f"cannot read the sample grid {path}: it is damaged or no PNG file ({error}); take it out") from error


def _example(folder: Path) -> str:
    """Return the first run in the folders of a folder, such as an ablation's, as an example, else the usual one."""
    found = sorted(path.parent for depth in ("*", "*/*") for path in folder.glob(f"{depth}/{RECIPE_FILE}"))
    return f", such as {found[0] if found else 'runs/pix2pix'}"

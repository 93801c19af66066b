"""The record of a run, read from its folder: recipe, values over time, saved generators and sample grids."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from gcc.artifacts.card import GRID
from gcc.artifacts.comparison import ROLES
from gcc.artifacts.config import CONFIG, Artifact, Role
from gcc.artifacts.metrics_log import POSITION, Phase
from gcc.artifacts.model import read
from gcc.artifacts.run_folder import (
    METRICS_FILE,
    RECIPE_FILE,
    RESULT_DEPTH,
    SAMPLES,
    STUDENT,
    TEACHER,
    choice_of_runs,
    command_line_of,
    is_finished,
    runs_in,
)
from gcc.artifacts.run_info import RunInfo, read_info
from gcc.errors import RunError
from gcc.recipe import read_toml
from gcc.registry import MetricKey

Numbers = npt.NDArray[np.float64]
GRID_NAME = re.compile(r"(?P<phase>\w+)_epoch_(?P<epoch>[0-9]{1,9})\.png", re.ASCII)
HELD_OUT = "held out"
"""The title of the samples of saved generators."""
MAX_GRIDS = 4
"""The number of sample grids that are read, evenly spaced over the run."""


@dataclass(frozen=True)
class Series:
    """One value over time; each array is (N,).

    Attributes:
        steps: iterations done in the phase.
        epochs: counted from 1.
        values: for a loss, its means over the iterations since the previous step.
    """

    steps: Numbers
    epochs: Numbers
    values: Numbers


@dataclass(frozen=True)
class PhaseRecord:
    """The values of one phase over time.

    Attributes:
        epoch: the last epoch.
        losses: by role and term, such as `G`.
        imbalances: |L_G - L_Dfake| by role and discriminator.
        targets: the moving averages of the teacher's imbalances by discriminator (Eq. 7).
        active: the student's shares of active channels by discriminator and layer.
        metrics: on the validation images, by generator, metric and role.
    """

    epoch: int
    losses: dict[str, dict[str, Series]] = field(default_factory=dict)
    imbalances: dict[str, dict[str, Series]] = field(default_factory=dict)
    targets: dict[str, Series] = field(default_factory=dict)
    active: dict[str, dict[str, Series]] = field(default_factory=dict)
    metrics: dict[str, dict[MetricKey, dict[str, Series]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Grid:
    """A picture of samples.

    Attributes:
        title: the moment in the run.
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
    """The content of a run's folder; parts are missing if the run is unfinished or trains a teacher only.

    Attributes:
        folder: the run's folder; None for a result that is not saved.
        arch: name of its architecture.
        recipe: the fields of `recipe.toml` without `arch`.
        phases: by name, in the order of the run.
        students: saved students by generator name.
        teachers: saved teachers by generator name.
        samples: held-out samples of the saved generators, else of the last epoch.
        progress: grids of some epochs, in order.
        info: when, how long and on what machine it has trained; None if that is unknown.
        command: the command line that started it; empty if that is unknown.
        is_finished: whether it ended normally; a run that failed may have saved generators, too.
    """

    folder: Path | None
    arch: str
    recipe: Mapping[str, Any]
    phases: Mapping[str, PhaseRecord]
    students: Mapping[str, Artifact]
    teachers: Mapping[str, Artifact]
    samples: Grid | None
    progress: tuple[Grid, ...]
    info: RunInfo | None
    command: str
    is_finished: bool

    @property
    def keeps_all_channels_on(self) -> bool:
        """Whether the student's discriminators have channels that can switch off, and none has in any step that was logged."""
        active = [series for phase in self.phases.values() for layers in phase.active.values() for series in layers.values()]
        return bool(active) and all((series.values == 1).all() for series in active)

    @property
    def has_target(self) -> bool:
        """Whether the student's discriminators followed a target (Eq. 7), which needs the teacher's."""
        return any(phase.targets for phase in self.phases.values())

    @property
    def name(self) -> str:
        """The folder's own name; without a folder that of the architecture."""
        return self.folder.resolve().name if self.folder else self.arch

    @property
    def saved(self) -> Mapping[str, Artifact]:
        """The generators that the run has saved: students, else teachers, else none yet."""
        return self.students or self.teachers

    @property
    def state(self) -> str:
        """How far the run is."""
        if self.is_finished:
            return "finished"
        if not self.phases:
            return "not started yet"
        name, phase = list(self.phases.items())[-1]
        state = "stopped before its end" if self.saved else "not finished"
        return f"{state}: {phase_title(name)}, epoch {phase.epoch}"


def phase_title(name: str) -> str:
    """Return the title of a phase; the name itself if this version does not know the phase."""
    return Phase(name).title if name in tuple(Phase) else name


def read_run(folder: Path) -> RunRecord:
    """Return the content of a run's folder.

    Raises:
        RunError: it is not a run's folder, or a file in it is damaged.
        RecipeError: its recipe is damaged.
        ArtifactError: a saved generator is damaged.
        PluginError: the architecture of a saved generator is not installed.
    """
    if runs := runs_in(folder):
        raise RunError(choice_of_runs(folder, runs))
    if not (folder / RECIPE_FILE).is_file():
        if run := next((parent for parent in folder.parents[:RESULT_DEPTH] if (parent / RECIPE_FILE).is_file()), None):
            raise RunError(f"{folder} is a part of the run in {run}: name that folder")
        raise RunError(
            f"{folder} has no {RECIPE_FILE}, so it is not a run's folder: expected the output of `gcc compress`, such as runs/pix2pix"
        )
    recipe = read_toml(folder / RECIPE_FILE)
    arch = recipe.pop("arch", None)
    if not isinstance(arch, str):
        raise RunError(f'{folder / RECIPE_FILE} names no architecture: expected a line such as arch = "pix2pix"')
    students, teachers = _read_generators(folder / STUDENT, "student"), _read_generators(folder / TEACHER, "teacher")
    progress = _read_progress(folder / SAMPLES)
    held_out = [artifact.folder / GRID for artifact in (students or teachers).values() if (artifact.folder / GRID).exists()]
    samples = read_grid(held_out[0], HELD_OUT) if held_out else next(reversed(progress), None)
    return RunRecord(
        folder,
        arch,
        recipe,
        phases_of(_lines(folder / METRICS_FILE)),
        students,
        teachers,
        samples,
        progress,
        read_info(folder),
        command_line_of(folder),
        is_finished(folder),
    )


def _read_generators(folder: Path, role: Role) -> dict[str, Artifact]:
    """Return the generators of a role; without any `config.json`, which is saved last, they are not saved yet."""
    is_saved = (folder / CONFIG).exists() or any(folder.glob(f"*/{CONFIG}"))
    return read(folder, role) if is_saved else {}


def phases_of(lines: Iterable[Mapping[str, Any]]) -> dict[str, PhaseRecord]:
    """Return the values of every phase over time.

    Args:
        lines: those of `metrics.jsonl`.
    """
    points: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for phase, epoch, step, values in map(_parsed, lines):
        for name, value in values.items():
            points.setdefault(phase, {}).setdefault(name, []).append((step, epoch, value))
    return {phase: _nested({name: Series(*np.array(rows).T) for name, rows in named.items()}) for phase, named in points.items()}


def _nested(series: Mapping[str, Series]) -> PhaseRecord:
    """Sort the series of a phase by what their names mean; other names are ignored."""
    record = PhaseRecord(max(int(one.epochs[-1]) for one in series.values()))
    for name, one in series.items():
        kind, _, rest = name.partition("/")
        if kind in ROLES:
            term, slash, discriminator = rest.partition("/")
            if not slash:
                record.losses.setdefault(kind, {})[term] = one
            elif term == "imbalance":
                record.imbalances.setdefault(kind, {})[discriminator] = one
        elif kind == "target":
            record.targets[rest] = one
        elif kind == "active":
            discriminator, _, layer = rest.partition(".")
            record.active.setdefault(discriminator, {})[layer] = one
        elif kind == "val":
            match rest.split("/", maxsplit=2):
                case [role, generator, metric] if role in ROLES:
                    record.metrics.setdefault(generator, {}).setdefault(MetricKey.parse(metric), {})[role] = one
    return record


def _lines(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield every line, which `_parsed` accepts; a last line without an end, cut off when the run was stopped, is skipped."""
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    for number, line in enumerate(lines, start=1):
        try:
            content = json.loads(line)
            _parsed(content)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            raise RunError(
                f"{path}, line {number} is damaged: expected a JSON object of {', '.join(POSITION)} and numbers by name; take the line out"
            ) from error
        yield content


def _parsed(line: Any) -> tuple[str, float, float, dict[str, float]]:
    """Return phase, epoch, step and values of a line."""
    phase, epoch, step = (line[name] for name in POSITION)
    if not isinstance(phase, str):
        raise TypeError(phase)
    if not math.isfinite(epoch) or not math.isfinite(step):
        raise ValueError(line)
    return phase, _number(epoch), _number(step), {name: _number(value) for name, value in line.items() if name not in POSITION}


def _number(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return float(value)


def _read_progress(folder: Path) -> tuple[Grid, ...]:
    order = list(Phase)
    matches = [(match, path) for path in folder.glob("*.png") if (match := GRID_NAME.fullmatch(path.name)) and match["phase"] in order]
    grids = sorted((order.index(Phase(match["phase"])), int(match["epoch"]), path) for match, path in matches)
    chosen = sorted({round(index) for index in np.linspace(0, len(grids) - 1, MAX_GRIDS)}) if grids else []
    return tuple(read_grid(path, f"{order[phase].title}, epoch {epoch}") for phase, epoch, path in (grids[index] for index in chosen))


def read_grid(path: Path, title: str) -> Grid:
    """Return the sample grid in a PNG file.

    Raises:
        RunError: the file is missing, damaged or not a PNG file.
    """
    try:
        with Image.open(path, formats=["PNG"]) as image:
            size = image.size
            image.verify()
        return Grid(title, path.read_bytes(), *size)
    except MemoryError:
        raise
    except Exception as error:  # Decoders raise exceptions of every type on damaged files.
        raise RunError(f"cannot read the sample grid {path}: it is damaged or not a PNG file ({error}); remove it") from error

"""The ablation of Table III: the method, and the method without each of its parts, with the same widths, seeds and steps."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console

from gcc.artifacts.model import read
from gcc.artifacts.run_folder import RECIPE_FILE, RENAMED_OPTIONS, is_finished
from gcc.compressor import Compressor
from gcc.errors import ArtifactError, GccError, OutputError, RunError
from gcc.evaluation.collection import split_names
from gcc.recipe import current_names, differences, read_toml, with_new_fields
from gcc.registry import MetricKey, unit_of
from gcc.registry.presets import PRESETS, preset
from gcc.report.html import save_report
from gcc.training.checkpoint import Schedule
from gcc.training.measure import held_out_grid
from gcc.training.session import Session
from gcc.training.teacher import Teacher
from gcc.utils.distributed import is_distributed_launch
from gcc.utils.files import replacing, write_text
from gcc.utils.weights import short_sha256

TEACHER = "teacher"
TRAINED_TEACHER = "teacher (after training)"
"""The title of the row of a teacher that trains along; one that was given is another network."""
PLAN = "ablation-plan.json"
"""File with the inputs that all runs share, except their recipes. It is written before the first run."""
NOT_COMPARED = ("data", "weights", "workers", "cache")
"""Arguments that the plan records by their contents, or that do not change the result."""


class Column(NamedTuple):
    """A metric of a generator; the generator is empty if the family has only one."""

    generator: str
    key: MetricKey

    def __str__(self) -> str:
        return f"{self.generator} {self.key}".lstrip()


@dataclass(frozen=True)
class Measurements:
    """The held-out metrics of an ablation.

    Attributes:
        values: of the teacher and of every variant, one per seed, by variant and column.
        seeds: runs of each variant.
        teacher: the title of the teacher's row.
    """

    values: Mapping[str, Mapping[Column, Sequence[float]]]
    seeds: int
    teacher: str = TEACHER

    def rows(self) -> dict[str, dict[str, str]]:
        """Return the formatted mean and standard deviation over the seeds, by title of the row and column."""
        return {
            self.teacher if variant == TEACHER else variant: {
                str(column): _mean_and_deviation(values, unit_of(column.key)) for column, values in columns.items()
            }
            for variant, columns in self.values.items()
        }

    def to_dict(self) -> dict[str, dict[str, list[float]]]:
        """Return the values as plain JSON values."""
        return {variant: {str(column): [*values] for column, values in columns.items()} for variant, columns in self.values.items()}

    def to_markdown(self) -> str:
        """Return the table as Markdown, with a summary of every variant."""
        rows = self.rows()
        titles = [*rows[self.teacher]]
        lines = [f"| | {' | '.join(titles)} | |", f"|---|{'---:|' * len(titles)}---|"]
        for variant, cells in rows.items():
            summary = PRESETS[variant].summary if variant in PRESETS else "the full-size network"
            lines.append(f"| {variant} | {' | '.join(cells[title] for title in titles)} | {summary} |")
        seeds = f"Mean and standard deviation (n - 1) over {self.seeds} runs with different seeds" if self.seeds > 1 else "One run each"
        return "\n".join(lines) + f"\n\n{seeds}, on held-out images.\n"


class Ablation:
    """Runs of every variant with every seed, each in its own folder `OUT/variant/seed-0`.

    The first run searches the widths of all others. Finished runs are not repeated, and stopped runs are resumed. The fields of a preset
    override the settings.

    Args:
        teacher: of every run.
        out: folder of the runs.
        presets: names of the variants, comma-separated. An empty text takes all.
        seeds: runs of each variant, with consecutive seeds from the recipe's.
        arguments: keywords of `Compressor`.
        settings: recipe fields.

    Raises:
        GccError: a preset is unknown, or this process is one of several.
    """

    def __init__(
        self, teacher: Teacher, out: Path, *, presets: str, seeds: int, arguments: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        if is_distributed_launch():
            raise RunError("an ablation runs in one process: start it without torchrun, or start each run with `gcc compress --preset`")
        self.teacher = teacher
        self.out = out
        self.variants = list(dict.fromkeys(split_names(presets))) or list(PRESETS)
        for name in self.variants:
            preset(name)
        self.seeds = seeds
        self._arguments = dict(arguments)
        self._settings = dict(settings)

    @cached_property
    def first(self) -> Compressor:
        """The run that searches the widths, not started."""
        return self.compressor(self.variants[0], 0)

    def plan(self) -> dict[str, str]:
        """Check the first run, and describe the ablation by title.

        Raises:
            GccError: the run is impossible, or the folder contains an ablation with other data, another teacher or other arguments.
        """
        if (self.out / RECIPE_FILE).exists():
            raise OutputError(f"{self.out} contains a single run: choose another --out, which need not exist yet")
        self.first.check()
        self._require_same_inputs()
        variants = {name: PRESETS[name].summary for name in self.variants}
        return self.first.plan() | variants | {"runs": f"{len(self.variants)} variants of {self.seeds} runs each", "output": str(self.out)}

    def runs(self, console: Console) -> Iterator[str]:
        """Train every run that is not finished, and yield its title before it starts.

        Raises:
            GccError: a run fails, or the folder contains runs of another recipe.
        """
        write_text(self.out / PLAN, json.dumps(self._inputs, indent=2) + "\n")
        for number in range(self.seeds):
            for variant in self.variants:
                run, folder = self.compressor(variant, number), self._folder(variant, number)
                if _is_finished(folder, run):
                    continue
                yield f"{variant}, seed {run.recipe.seed}"
                with Session(run, folder, Schedule(keep=0)) as session:
                    session.lock()
                    session.resume()
                    run.check()
                    session.prepare()
                    session.train(console, hint="call the same command again to continue")
                save_report([folder])

    def measurements(self) -> Measurements:
        """Return the held-out metrics of the teacher and of every variant's students.

        Raises:
            ArtifactError: a student is missing or damaged, or its widths differ from those of the others.
        """
        values: dict[str, dict[Column, list[float]]] = {name: {} for name in (TEACHER, *self.variants)}
        widths, teacher = None, TEACHER
        for variant in self.variants:
            for number in range(self.seeds):
                folder = self._folder(variant, number)
                students = read(folder / "student")
                own_widths = {name: student.widths for name, student in students.items()}
                if own_widths != (widths := widths or own_widths):
                    raise ArtifactError(f"{folder} has students of other widths than the runs before it: move it away")
                for name, student in students.items():
                    if student.measurements["teacher"].get("epoch"):
                        teacher = TRAINED_TEACHER
                    for title, value in student.measurements["student"]["metrics"].items():
                        column = Column(name if len(students) > 1 else "", MetricKey.parse(title))
                        values[variant].setdefault(column, []).append(value)
                        if variant == self.variants[-1]:
                            values[TEACHER].setdefault(column, []).append(student.measurements["teacher"]["metrics"][title])
        return Measurements(values, self.seeds, teacher)

    def save(self) -> list[Path]:
        """Write `ablation.json`, `ablation.md` and `ablation.png`, a grid of the first seed, and return their paths.

        Raises:
            OutputError: a file cannot be written.
        """
        data, table, picture = (self.out / f"ablation.{suffix}" for suffix in ("json", "md", "png"))
        recipes = {variant: self.compressor(variant, 0).recipe.to_dict() for variant in self.variants}
        measurements = self.measurements()
        write_text(data, json.dumps({"recipes": recipes, "figures": measurements.to_dict()}, indent=2) + "\n")
        write_text(table, measurements.to_markdown())
        folders = {TEACHER: self._folder(self.variants[0], 0) / TEACHER}
        folders |= {variant: self._folder(variant, 0) / "student" for variant in self.variants}
        networks = {
            title: {name: artifact.network().to(self.first.context.device) for name, artifact in read(folder).items()}
            for title, folder in folders.items()
        }
        with replacing(picture) as temporary:
            held_out_grid(self.first.context, networks).save(temporary)
        return [data, table, picture]

    def compressor(self, variant: str, number: int) -> Compressor:
        """Return a run, not started, with the widths of a finished run if there is one.

        Args:
            variant: its preset.
            number: of the run among those of the variant, from 0.

        Raises:
            GccError: the recipe, the data or a plugin cannot be used.
        """
        settings = self._settings | dict(PRESETS[variant].settings) | {"seed": self._first_seed + number}
        widths = self._arguments.get("widths") or self._widths()
        return Compressor(self.teacher, **{**self._arguments, "widths": widths}, **settings)

    @cached_property
    def _first_seed(self) -> int:
        bind = self.teacher.demo_architecture if self._arguments.get("data") is None else self.teacher.architecture
        seed: int = bind(self._settings).recipe.seed
        return seed

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        """The inputs that all runs share, except their recipes, as plain JSON values."""
        folder = self.teacher.folder
        saved = sorted(folder.glob("**/*.safetensors")) if folder else []
        arguments = {name: str(value) for name, value in sorted(self._arguments.items()) if value and name not in NOT_COMPARED}
        return arguments | {
            "data": self.first.context.data.train.identity or str(self._arguments.get("data")),
            "teacher": {str(path.relative_to(folder)): short_sha256(path) for path in saved} if folder else {},
            "weights": {name: short_sha256(Path(file)) for name, file in sorted((self._arguments.get("weights") or {}).items())},
        }

    def _require_same_inputs(self) -> None:
        path = self.out / PLAN
        if not path.exists():
            return
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            plan = None
        if not isinstance(plan, dict):
            raise OutputError(f"{path} is damaged, or not the plan of an ablation: choose another --out")
        saved: dict[str, Any] = plan
        before = {RENAMED_OPTIONS.get(name, name): value for name, value in saved.items()}
        if names := [name for name in {**self._inputs, **before} if self._inputs.get(name) != before.get(name)]:
            raise OutputError(f"{self.out} contains an ablation with another {', '.join(names)}: choose another --out, or use the same")

    def _widths(self) -> Path | None:
        """Return the folder of a finished student, whose widths all others take, or None before the first run is finished."""
        folders = (self._folder(variant, number) / "student" for number in range(self.seeds) for variant in PRESETS)
        return next((folder for folder in folders if any(folder.glob("**/config.json"))), None)

    def _folder(self, variant: str, number: int) -> Path:
        return self.out / variant / f"seed-{number}"


def _is_finished(folder: Path, run: Compressor) -> bool:
    """Return whether a folder contains the run, finished.

    Raises:
        OutputError: it contains a run of another recipe.
    """
    if not (folder / RECIPE_FILE).exists():
        return False
    saved = with_new_fields(run.recipe, current_names(read_toml(folder / RECIPE_FILE)))
    if changes := differences(saved, {"arch": run.arch, **run.recipe.to_dict()}):
        raise OutputError(f"{folder} contains a run of another recipe ({changes}): choose another --out, or use the same recipe")
    try:
        return is_finished(folder) and set(read(folder / "student")) == set(run.architecture.generators)
    except GccError:
        return False


def _mean_and_deviation(values: Sequence[float], unit: str) -> str:
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{deviation} {unit}".rstrip()

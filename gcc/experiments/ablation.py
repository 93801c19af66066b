"""The ablation of Table III: the method, and the method without each of its parts, with the same widths, seeds and steps."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Unpack

from torch import nn

from gcc.artifacts.model import read
from gcc.artifacts.run_folder import STUDENT, TEACHER, is_finished
from gcc.artifacts.tensors import load_network, save_network
from gcc.compressor import Compressor
from gcc.errors import ArtifactError, GccError
from gcc.experiments.runs import Member, RunGroup, given_twice
from gcc.recipe import Recipe
from gcc.registry import MetricKey, Networks, unit_of
from gcc.registry.presets import PRESETS, preset
from gcc.training.options import RunOptions
from gcc.training.pair import NO_NETWORKS
from gcc.training.teacher import Teacher
from gcc.utils.arguments import require_kind
from gcc.utils.units import counted

*_, WHOLE = PRESETS
"""The variant with the whole method."""
START = "ablation-start.safetensors"
"""The file with the weights that all students start with, if they inherit them."""
TRAINED_TEACHER = "teacher (after training)"
"""The title of the row of a teacher that trains along; one that was given is another network."""


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
        teacher_of: the variant whose runs the teacher's row is taken from.
    """

    values: Mapping[str, Mapping[Column, Sequence[float]]]
    seeds: int
    teacher: str
    teacher_of: str

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
        note = f" The teacher is the one of the runs of {self.teacher_of}." if self.teacher == TRAINED_TEACHER else ""
        return "\n".join(lines) + f"\n\n{seeds}, on held-out images.{note}\n"


class Ablation(RunGroup[Measurements]):
    """Runs of every variant with every seed, each in its own folder `OUT/variant/seed-0`.

    The first run searches the widths of all others. If students inherit weights, all start with those that its student inherited. The
    fields of a preset override the options; variants that then have the same recipe are one.

    Args:
        teacher: of every run. Leave it out if you give `generator` and `task`.
        out: folder of the runs. Finished runs in it are not repeated, and stopped ones are resumed. None means `runs/ARCH-ablation`.
        presets: names of the variants, such as `["no-global", "gcc"]`. An empty sequence takes all.
        data: folder of the training images. None means the architecture's demo data and demo recipe.
        seeds: runs of each variant, with consecutive seeds from the recipe's.
        options: keywords of `Compressor`, with recipe fields.

    Raises:
        GccError: a preset is unknown, an option cannot be used, or this process is one of several.
    """

    name = "ablation"
    command = "ablate"
    noun = "an ablation"

    def __init__(
        self,
        teacher: Teacher | None = None,
        out: str | Path | None = None,
        presets: Sequence[str] = (),
        data: str | Path | None = None,
        *,
        seeds: int = 3,
        **options: Unpack[RunOptions],
    ) -> None:
        super().__init__(teacher, out, data, options)
        require_kind("presets", presets, Sequence[str])
        require_kind("seeds", seeds, int)
        if seeds < 1:
            raise GccError(f"seeds = {seeds!r}: expected a whole number from 1 up")
        if self.config.student is not None:
            raise GccError("an ablation trains a new student in each run: leave student out")
        names = list(dict.fromkeys(presets)) or list(PRESETS)
        for name in names:
            preset(name)
        same = _same_recipes({name: self._recipe(name) for name in names})
        self.variants = [name for name in names if name not in same]
        self._merged = given_twice(presets) + "".join(f"; {name} is {other} with this recipe" for name, other in same.items())
        self.seeds = seeds

    @cached_property
    def first(self) -> Compressor:
        """The run that searches the widths, not started."""
        return self.compressor(self.variants[0], 0)

    def plan(self) -> dict[str, str]:
        self.check()
        variants = {name: PRESETS[name].summary for name in self.variants}
        runs = f"{counted(len(self.variants), 'variant')} of {counted(self.seeds, 'run')} each{self._merged}"
        return self.first.plan() | variants | {"runs": runs, "output": str(self.out)}

    def members(self) -> Iterator[Member]:
        for number in range(self.seeds):
            for variant in self.variants:
                run = self.compressor(variant, number)
                yield Member(f"{variant}, seed {run.recipe.seed}", self._folder(variant, number), run)

    def folders(self) -> dict[str, Path]:
        """Return the folders of the teacher and of every variant's student, with the first seed."""
        students = {variant: self._folder(variant, 0) / "student" for variant in self.variants}
        return {TEACHER: self._folder(self.teacher_variant, 0) / TEACHER, **students}

    @property
    def teacher_variant(self) -> str:
        """The variant whose teacher is shown, since one that trains along differs in every run: the whole method, else the last one."""
        return WHOLE if WHOLE in self.variants else self.variants[-1]

    def to_dict(self) -> dict[str, Any]:
        recipes = {variant: self.compressor(variant, 0).recipe.to_dict() for variant in self.variants}
        return {"recipes": recipes, "figures": self.measurements().to_dict()}

    def to_markdown(self) -> str:
        return self.measurements().to_markdown()

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
                        if variant == self.teacher_variant:
                            values[TEACHER].setdefault(column, []).append(student.measurements["teacher"]["metrics"][title])
        return Measurements(values, self.seeds, teacher, self.teacher_variant)

    def compressor(self, variant: str, number: int) -> Compressor:
        """Return a run, not started, with the widths of a finished run if there is one.

        Args:
            variant: its preset.
            number: of the run among those of the variant, from 0.

        Raises:
            GccError: the recipe, the data or a plugin cannot be used.
        """
        recipe = self._recipe(variant)
        settings = self._settings | dict(PRESETS[variant].settings) | {"seed": recipe.seed + number}
        finished = self._finished()
        if recipe.start == "fresh":
            return Compressor(self.teacher, **{**vars(self.config), "widths": self.config.widths or finished}, **settings)
        run = _InheritingRun(self.out / START, self.teacher, **vars(self.config), **settings)
        run.fixed_widths = {name: student.widths for name, student in read(finished).items()} if finished else {}
        return run

    def _recipe(self, variant: str) -> Recipe:
        """Return the recipe of a variant with the first seed."""
        recipe: Recipe = self.teacher.architecture_for(self.config.data, self._settings | dict(PRESETS[variant].settings)).recipe
        return recipe

    def _finished(self) -> Path | None:
        """Return the folder of a finished student, whose widths all others take, or None before the first run is finished."""
        folders = (self._folder(variant, number) for number in range(self.seeds) for variant in PRESETS)
        return next((folder / STUDENT for folder in folders if (folder / STUDENT).exists() and is_finished(folder)), None)

    def _folder(self, variant: str, number: int) -> Path:
        return self.out / variant / f"seed-{number}"


class _InheritingRun(Compressor):
    """A run whose student starts with the weights that the student of the ablation's first run inherited.

    Args:
        start: the file of these weights; the first run writes it.
        teacher: the teacher.
        options: keywords of `Compressor`.
    """

    def __init__(self, start: Path, teacher: Teacher, **options: Any) -> None:
        super().__init__(teacher, **options)
        self._start = start

    def reinitialize(self, initial: Networks = NO_NETWORKS) -> None:
        if initial:
            save_network(self._start, nn.ModuleDict(initial))
        super().reinitialize(initial or dict(load_network(self._start, self._build).named_children()))

    def _build(self) -> nn.ModuleDict:
        """Return new generators of the student."""
        return nn.ModuleDict({name: self.architecture.for_network(name).build_generator(widths) for name, widths in self.widths.items()})


def _same_recipes(recipes: Mapping[str, Recipe]) -> dict[str, str]:
    """Return the variants that have the recipe of another one, and that one, which is the whole method or comes first."""
    first: dict[Recipe, str] = {}
    for name in sorted(recipes, key=lambda name: name != WHOLE):
        first.setdefault(recipes[name], name)
    return {name: first[recipe] for name, recipe in recipes.items() if first[recipe] != name}


def _mean_and_deviation(values: Sequence[float], unit: str) -> str:
    deviation = f" ± {statistics.stdev(values):.2g}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{deviation} {unit}".rstrip()

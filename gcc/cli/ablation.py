"""The ablation of Table III: the method, and the method without each of its parts, at the same widths, seeds and steps."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL.Image import Image
from rich.console import Console

from gcc.artifacts.model import read
from gcc.artifacts.run_folder import RECIPE_FILE, claim, is_finished
from gcc.compressor import Compressor
from gcc.errors import ArtifactError, GccError, OutputError, RunError
from gcc.evaluation.collection import split_names
from gcc.recipe import differences, read_toml
from gcc.registry import EVALUATORS
from gcc.registry.presets import PRESETS, preset
from gcc.report.html import save_report
from gcc.training.checkpoint import USUAL, Checkpoints
from gcc.training.measure import held_out_grid
from gcc.training.session import rewind, run_session
from gcc.training.teacher import Teacher
from gcc.utils.distributed import is_distributed_launch
from gcc.utils.files import replacing, write_text
from gcc.utils.weights import digest

Values = dict[str, dict[str, list[float]]]
"""Figures by variant and title, one per seed."""
TEACHER = "teacher"
IGNORED_ARGUMENTS = ("data", "weights", "workers", "cache")
"""Arguments that are told otherwise, or change no result."""
PLAN = "ablation-plan.json"
"""What all runs of an ablation share beside their recipes; written before the first of them."""


class Ablation:
    """Runs of every variant with every seed, each in a folder of its own: `OUT/variant/seed-0`.

    The first run searches the widths that all others take. What is finished is not run again, and what was stopped goes on. A preset wins
    over the settings.

    Args:
        teacher: of every run.
        out: folder of the runs.
        presets: names of the variants, joined by commas; empty takes all.
        seeds: runs of each variant; they count from the recipe's seed.
        arguments: those of `Compressor`.
        settings: recipe fields.

    Raises:
        GccError: a preset is unknown, the recipe, the data or a plugin cannot be used, or this process is one of several.
    """

    def __init__(
        self, teacher: Teacher, out: Path, *, presets: str, seeds: int, arguments: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> None:
        if is_distributed_launch():
            raise RunError("an ablation runs in one process: call it without torchrun, or each of its runs with `gcc compress --preset`")
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
        return self._compressor(self.variants[0], 0)

    def plan(self) -> dict[str, str]:
        """Check the first run, and return what is about to be done, as texts by title.

        Raises:
            GccError: it cannot be done, or the folder holds an ablation of other data, another teacher or other arguments.
        """
        if (self.out / RECIPE_FILE).exists():
            raise OutputError(f"{self.out} holds a single run: choose another --out, which need not exist yet")
        self.first.check()
        self._require_same_inputs()
        variants = {name: PRESETS[name].summary for name in self.variants}
        return self.first.plan() | variants | {"runs": f"{len(self.variants)} variants of {self.seeds} runs each", "output": str(self.out)}

    def runs(self, console: Console) -> Iterator[str]:
        """Run what is not finished yet, and yield what each run is before it starts.

        Raises:
            GccError: a run went wrong, or the folder holds runs of another recipe.
        """
        write_text(self.out / PLAN, json.dumps(self._inputs, indent=2) + "\n")
        for number in range(self.seeds):
            for variant in self.variants:
                run, place = self._compressor(variant, number), self._place(variant, number)
                if self._is_finished(place, run):
                    continue
                yield f"{variant}, seed {run.recipe.seed}"
                snapshot = Checkpoints(place).newest()
                if snapshot:
                    run.resume(snapshot)
                run.check()
                if snapshot:
                    rewind(place, snapshot)
                else:
                    claim(place, needs=run.bytes_written() + USUAL.keep * run.bytes_of_snapshot())
                run_session(run, place, console, again="call the same command again to go on")
                save_report([place])

    def values(self) -> Values:
        """Return the held-out figures of the teacher and of every variant's students.

        Raises:
            ArtifactError: a student is missing or damaged, or not all are of the same widths.
        """
        values: Values = {TEACHER: {}}
        widths = None
        for variant in self.variants:
            values[variant] = {}
            for number in range(self.seeds):
                artifacts = read(self._place(variant, number) / "student")
                found = {name: artifact.widths for name, artifact in artifacts.items()}
                if found != (widths := widths or found):
                    raise ArtifactError(
                        f"{self._place(variant, number)} has students of other widths than the runs before it: take it away"
                    )
                for generator, artifact in artifacts.items():
                    for title, figure in artifact.measurements["student"]["metrics"].items():
                        named_title = f"{generator} {title}" if len(artifacts) > 1 else title
                        values[variant].setdefault(named_title, []).append(figure)
                        if variant == self.variants[-1]:
                            values[TEACHER].setdefault(named_title, []).append(artifact.measurements["teacher"]["metrics"][title])
        return values

    def rows(self) -> dict[str, dict[str, str]]:
        """Return the table: mean and standard deviation over the seeds by variant and title."""
        return {
            variant: {title: _spread(figures, _unit(title)) for title, figures in found.items()} for variant, found in self.values().items()
        }

    def save(self) -> list[Path]:
        """Write `ablation.json`, `ablation.md` and `ablation.png`, a grid of the first seed, and return their paths.

        Raises:
            OutputError: they cannot be written.
        """
        data, table, picture = (self.out / f"ablation.{suffix}" for suffix in ("json", "md", "png"))
        recipes = {variant: self._compressor(variant, 0).recipe.to_dict() for variant in self.variants}
        write_text(data, json.dumps({"recipes": recipes, "figures": self.values()}, indent=2) + "\n")
        write_text(table, self._markdown())
        with replacing(picture) as fresh:
            self._grid().save(fresh)
        return [data, table, picture]

    def _markdown(self) -> str:
        rows = self.rows()
        titles = list(rows[TEACHER])
        lines = [f"| | {' | '.join(titles)} | |", f"|---|{'---:|' * len(titles)}---|"]
        for variant, cells in rows.items():
            summary = PRESETS[variant].summary if variant in PRESETS else "the full-size network"
            lines.append(f"| {variant} | {' | '.join(cells[title] for title in titles)} | {summary} |")
        seeds = f"Mean and standard deviation (n - 1) over {self.seeds} runs with different seeds" if self.seeds > 1 else "One run each"
        return "\n".join(lines) + f"\n\n{seeds}, on held-out images.\n"

    def _grid(self) -> Image:
        saved = {TEACHER: read(self._place(self.variants[0], 0) / TEACHER)}
        saved |= {variant: read(self._place(variant, 0) / "student") for variant in self.variants}
        networks = {
            title: {name: artifact.network().to(self.first.device) for name, artifact in artifacts.items()}
            for title, artifacts in saved.items()
        }
        return held_out_grid(self.first, networks)

    @cached_property
    def _seed(self) -> int:
        """The recipe's seed, from which those of the runs count."""
        seed: int = self.teacher.architecture(demo=self._arguments.get("data") is None, settings=self._settings).recipe.seed
        return seed

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        """What the runs share beside their recipes, as plain values."""
        given = self.teacher.folder
        shared = {name: str(value) for name, value in sorted(self._arguments.items()) if value and name not in IGNORED_ARGUMENTS}
        weights = {name: digest(Path(file)) for name, file in sorted((self._arguments.get("weights") or {}).items())}
        return shared | {
            "data": self.first.data.train.identity or str(self._arguments.get("data")),
            "teacher": {str(path.relative_to(given)): digest(path) for path in sorted(given.glob("**/*.safetensors"))} if given else {},
            "weights": weights,
        }

    def _require_same_inputs(self) -> None:
        place = self.out / PLAN
        if not place.exists():
            return
        try:
            before = json.loads(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise OutputError(f"{place} is damaged, or no plan of an ablation: choose another --out") from error
        differing = [name for name in {**self._inputs, **before} if self._inputs.get(name) != before.get(name)]
        if differing:
            raise OutputError(f"{self.out} holds an ablation with another {', '.join(differing)}: choose another --out, or give the same")

    def _compressor(self, variant: str, number: int) -> Compressor:
        settings = self._settings | dict(PRESETS[variant].settings) | {"seed": self._seed + number}
        arguments = dict(self._arguments)
        if arguments.get("widths") is None:
            arguments["widths"] = self._searched()
        return Compressor(self.teacher, **arguments, **settings)

    def _searched(self) -> Path | None:
        """Return a finished student, whose widths all others take; none yet before the first run."""
        places = (self._place(variant, number) / "student" for number in range(self.seeds) for variant in PRESETS)
        return next((place for place in places if any(place.glob("**/config.json"))), None)

    def _place(self, variant: str, number: int) -> Path:
        return self.out / variant / f"seed-{number}"

    def _is_finished(self, place: Path, run: Compressor) -> bool:
        """Return whether the run was finished.

        Raises:
            OutputError: it was a run of another recipe.
        """
        if not (place / RECIPE_FILE).exists():
            return False
        if changes := differences(read_toml(place / RECIPE_FILE), {"arch": run.arch, **run.recipe.to_dict()}):
            raise OutputError(f"{place} holds a run of another recipe ({changes}): choose another --out, or give the same")
        try:
            return is_finished(place) and set(read(place / "student")) == set(run.architecture.generators)
        except GccError:
            return False


def _unit(title: str) -> str:
    words = title.partition(" (")[0].split()
    unit: str = EVALUATORS.load(words[-1]).unit
    return unit


def _spread(figures: list[float], unit: str) -> str:
    deviation = f" ± {statistics.stdev(figures):.2g}" if len(figures) > 1 else ""
    return f"{statistics.mean(figures):.4g}{deviation} {unit}".rstrip()

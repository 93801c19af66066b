"""Several runs in one folder that share their inputs. Finished runs are not repeated, and stopped runs are resumed."""

from __future__ import annotations

import abc
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar

from PIL.Image import Image
from rich.console import Console

from gcc.artifacts.config import Artifact, Role
from gcc.artifacts.model import read
from gcc.artifacts.run_folder import FINAL_STATE, RECIPE_FILE, RENAMED_OPTIONS, is_finished, resume_command
from gcc.compressor import Compressor
from gcc.errors import GccError, OutputError, RunError
from gcc.recipe import differences, renamed
from gcc.report.html import save_report
from gcc.training.checkpoint import Schedule
from gcc.training.config import RunConfig
from gcc.training.context import teacher_and_options
from gcc.training.longer import is_longer
from gcc.training.loop import TrainingLoop
from gcc.training.measure import held_out_grid
from gcc.training.session import Session
from gcc.training.teacher import Teacher
from gcc.utils.arguments import require_kind, shown
from gcc.utils.distributed import is_distributed_launch
from gcc.utils.files import replacing, require_no_file, write_text
from gcc.utils.json_text import json_text
from gcc.utils.weights import short_sha256

FINGERPRINTS = {"data": "other data", "teacher": "another teacher", "weights": "other weights"}
"""Inputs that the plan records by their contents, and how a message names a change."""
NOT_COMPARED = ("data", "weights", "workers", "cache")
"""Options that the plan records by their contents, or that do not change the result."""


Measured = TypeVar("Measured")
"""What a group of runs measures."""


class Member(NamedTuple):
    """One run with its title and its folder; the run is not started."""

    title: str
    folder: Path
    run: TrainingLoop


class RunGroup(abc.ABC, Generic[Measured]):
    """Several runs in one folder that share their inputs, except their recipes.

    Attributes:
        name: what the group is, such as "ablation"; the names of its files begin with it.
        command: the command that trains it.
        noun: the name with its article.
        keep: the number of checkpoints to keep of a finished run, so that it can go on for more epochs.
        config: the options of every run.

    Args:
        teacher: of every run. Leave it out if you give `generator` and `task`.
        out: folder of the runs. Finished runs in it are not repeated, and stopped ones are resumed. None means `runs/ARCH-NAME`.
        data: folder of the training images. None means the architecture's demo data and demo recipe.
        options: keywords of `Compressor`, with recipe fields.

    Raises:
        GccError: the teacher is missing, or the networks do not fit the task.
        RunError: this process is one of several.
    """

    name: ClassVar[str]
    command: ClassVar[str]
    noun: ClassVar[str]
    keep: ClassVar[int] = 0

    def __init__(self, teacher: Teacher | None, out: str | Path | None, data: str | Path | None, options: Mapping[str, Any]) -> None:
        if is_distributed_launch():
            raise RunError(f"{self.noun} runs in one process: start it without torchrun, or start each run with `gcc compress`")
        require_kind("teacher", teacher, Teacher | None)
        require_kind("out", out, Path | None)
        if data is not None and not isinstance(data, str | Path):
            raise GccError(f"data = {shown(data)}: expected a folder, since {self.noun} must find the same data when it is resumed")
        self.teacher, options = teacher_and_options(teacher, options)
        self.out = Path("runs", f"{self.teacher.arch}-{self.name}") if out is None else Path(out)
        self.config, settings = RunConfig.split({"data": data, **options})
        self._settings = renamed(settings)

    @property
    @abc.abstractmethod
    def first(self) -> Compressor:
        """A run of the group, not started, whose data and options are those of all runs."""

    @abc.abstractmethod
    def members(self) -> Iterator[Member]:
        """Yield every run in order. A run may need the results of those before it, so each is built when it is its turn."""

    @abc.abstractmethod
    def folders(self) -> Mapping[str, Path]:
        """Return the folders of the saved generators that are compared, by title."""

    @abc.abstractmethod
    def measurements(self) -> Measured:
        """Return the measurements of the finished runs.

        Raises:
            ArtifactError: a saved generator is missing or damaged.
        """

    @abc.abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the measurements of the finished runs as plain JSON values.

        Raises:
            ArtifactError: a saved generator is missing or damaged.
        """

    @abc.abstractmethod
    def to_markdown(self) -> str:
        """Return a table of the measurements as Markdown.

        Raises:
            ArtifactError: a saved generator is missing or damaged.
        """

    @abc.abstractmethod
    def plan(self) -> dict[str, str]:
        """Check the runs, and describe them by title.

        Raises:
            GccError: see `check`.
        """

    def check(self) -> None:
        """Refuse now what would fail later.

        Raises:
            GccError: a run is impossible, or the folder contains runs with other data, another teacher or other options.
        """
        require_no_file(self.out)
        if (self.out / RECIPE_FILE).exists():
            raise OutputError(f"{self.out} contains a single run: choose another `out`, which need not exist yet")
        self.first.check()
        self._require_same_inputs()

    def run(self, console: Console | None = None) -> Measured:
        """Train every run that is not finished, write the results, and return the measurements.

        Args:
            console: where progress goes; None shows none.

        Raises:
            GccError: a run is impossible or fails, or the folder contains runs with other inputs.
        """
        self.check()
        for _ in self.runs(console or Console(quiet=True)):
            pass
        self.save()
        return self.measurements()

    def runs(self, console: Console) -> Iterator[str]:
        """Train every run that is not finished, and yield its title before it starts.

        Args:
            console: where progress goes.

        Raises:
            GccError: a run fails, or the folder contains runs of another recipe.
        """
        write_text(self._plan_file, json.dumps(self._inputs, indent=2) + "\n")
        for title, folder, run in self.members():
            if _is_finished(folder, run):
                continue
            yield title
            self._train(run, folder, console)

    def _train(self, run: TrainingLoop, folder: Path, console: Console) -> None:
        with Session(run, folder, Schedule(keep=self.keep)) as session:
            session.lock()
            session.resume()
            run.check()
            session.prepare()
            session.train(console, hint=self.hint)
        save_report([folder])

    def save(self) -> list[Path]:
        """Write the measurements (`.json`), the table (`.md`) and a grid of held-out samples (`.png`), and return their paths.

        Raises:
            OutputError: a file cannot be written.
        """
        data, table, picture = (self.out / f"{self.name}.{suffix}" for suffix in ("json", "md", "png"))
        write_text(data, json_text(self.to_dict(), indent=2) + "\n")
        write_text(table, self.to_markdown())
        grid = self._grid()
        with replacing(picture) as temporary:
            grid.save(temporary)
        return [data, table, picture]

    def _grid(self) -> Image:
        context = self.first.context
        return held_out_grid(
            context,
            {
                title: {name: artifact.network().to(context.device) for name, artifact in self._read(folder).items()}
                for title, folder in self.folders().items()
            },
        )

    def _read(self, folder: Path) -> dict[str, Artifact]:
        """Return the generators saved in a folder by name, whose networks can be built."""
        return read(folder, factory=self.teacher.factory)

    @property
    def hint(self) -> str:
        """How to resume the runs."""
        return f"continue with {resume_command(self.command, self.out)}"

    @property
    def _plan_file(self) -> Path:
        """The file with the inputs that all runs share. It is written before the first run."""
        return self.out / f"{self.name}-plan.json"

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        """The inputs that all runs share, except their recipes, as plain JSON values."""
        return _compared(self.config) | {
            "data": self.first.context.data.content_digest or str(self.config.data),
            "teacher": self.teacher.digests,
            "weights": {name: short_sha256(Path(file)) for name, file in sorted(self.config.weights.items())},
        }

    def _require_same_inputs(self) -> None:
        path = self._plan_file
        if not path.exists():
            return
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            plan = None
        if not isinstance(plan, dict):
            raise OutputError(f"{path} is damaged, or not the plan of {self.noun}: choose another `out`")
        saved: dict[str, Any] = plan
        # Earlier versions left out options that were not given.
        before = _compared(RunConfig()) | {RENAMED_OPTIONS.get(name, name): value for name, value in saved.items()}
        # Earlier versions recorded the training split alone, with the dates of its files.
        if before.get("data") == self.first.context.data.train.identity:
            before["data"] = self._inputs["data"]
        changed = {name for name in {**self._inputs, **before} if self._inputs.get(name) != before.get(name)}
        _, folder, run = next(self.members())
        try:
            _is_finished(folder, run)
        except OutputError as error:
            # Fields such as size change the data, too, and the kind of the data changes fields of the recipe.
            prefix = "the data differ, or are read in another way: " if "data" in changed else ""
            raise OutputError(f"{prefix}{error}") from error
        if changed:
            others = [text for name, text in FINGERPRINTS.items() if name in changed]
            options = sorted(changed.difference(FINGERPRINTS))
            was, now = ({name: values.get(name) for name in options} for values in (before, self._inputs))
            texts = ", ".join(filter(None, [*others, differences(was, now)]))
            raise OutputError(f"{self.out} contains {self.noun} with other inputs ({texts}): choose another `out`, or use the same inputs")


def given_twice(names: Sequence[str]) -> str:
    """Return a remark on names that are given more than once.

    >>> given_twice(["25%", "50%", "25%"]), given_twice(["25%", "50%"])
    (' (25% is given more than once, and trained once)', '')
    """
    repeated = [name for name, number in Counter(names).items() if number > 1]
    return f" ({', '.join(repeated)} {'is' if len(repeated) == 1 else 'are'} given more than once, and trained once)" if repeated else ""


def _compared(config: RunConfig) -> dict[str, Any]:
    """Return the options that all runs of a folder share, as plain JSON values, without those that are off."""
    return {name: str(value) for name, value in sorted(vars(config).items()) if value and name not in NOT_COMPARED}


def _is_finished(folder: Path, run: TrainingLoop) -> bool:
    """Return whether a folder contains the run, finished.

    Raises:
        OutputError: it contains a run of another recipe, or one that is longer or cannot become so.
    """
    if not (folder / RECIPE_FILE).exists():
        return False
    if is_longer(run, folder):
        if is_finished(folder) and not (folder / FINAL_STATE).exists():
            raise OutputError(f"{folder} cannot go on: its last state was not kept; choose another `out` for a longer run")
        return False
    role: Role = "student" if "student" in run.result_widths else "teacher"
    try:
        return is_finished(folder) and set(read(folder / role)) == set(run.architecture.generators)
    except GccError:
        return False

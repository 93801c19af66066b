"""The progress of a run: losses, metrics, sample grids and checkpoints on disk, a bar in the terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gcc.artifacts.metrics_log import Phase, Window, append_line
from gcc.artifacts.run_folder import METRICS_FILE, RECIPE_FILE, SAMPLES
from gcc.errors import GccError
from gcc.report.html import save_report
from gcc.training.checkpoint import Checkpoints, Schedule
from gcc.training.loop import Step, TrainingLoop
from gcc.training.loss_tree import flattened
from gcc.training.measure import progress_grid
from gcc.utils.files import explained, replacing, write_text

SHOWN = {"teacher/G": "teacher G", "student/G": "student G", "student/distill_G": "distill"}
"""The losses in the terminal; `metrics.jsonl` has all."""
SECONDS = 5.0
"""Time between two readings of the losses, which synchronise with the device."""
NUMBER = re.compile(r"-?\b(?:\d[\d.e+-]*|inf|nan)")
"""The numbers of a warning, which differ in every epoch."""
PLAIN_LINES = 20
"""Progress lines per phase if the output is not a terminal."""

Logger = Callable[[Phase, int, Mapping[str, float]], None]
"""Receives the phase, the step within it, and values by name."""


def no_logger(phase: Phase, step: int, values: Mapping[str, float]) -> None:
    """Do nothing."""


def size_of(file: Path) -> int:
    """Return the size of a file in bytes; 0 if there is none."""
    return file.stat().st_size if file.exists() else 0


class ProgressLog:
    """Writes `recipe.toml`, `metrics.jsonl`, `samples/*.png` and checkpoints to a folder, and shows progress. Call it after every step.

    Args:
        run: the run.
        out: its folder, which exists.
        console: where progress goes: a bar with the time left in a terminal, plain lines elsewhere.
        log: also receives what goes to `metrics.jsonl`.
        checkpoints: where checkpoints go.
        schedule: when they are written.
    """

    def __init__(self, run: TrainingLoop, out: Path, console: Console, log: Logger, checkpoints: Checkpoints, schedule: Schedule) -> None:
        self.run = run
        self.out = out
        self.console = console
        self._log = log
        self._checkpoints = checkpoints
        self._schedule = schedule
        self._saved, self._unsaved = time.monotonic(), 0
        self._signs: dict[str, str] = {}
        self._window = Window()
        self._read = time.monotonic()
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[losses]}"),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[Phase, TaskID] = {}
        write_text(out / RECIPE_FILE, run.recipe.to_toml(run.arch))
        checkpoints.begin()

    def __enter__(self) -> ProgressLog:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bars.stop()

    def __call__(self, step: Step) -> None:
        """Record a step. Losses are read every few seconds, and at the end of every epoch."""
        if step.phase not in self._tasks:
            self._tasks[step.phase] = self._bars.add_task(step.phase.title, total=step.total, losses="")
        self._bars.update(self._tasks[step.phase], completed=step.number)
        self._window.add(flattened(step.losses))
        if step.ends_epoch or time.monotonic() - self._read > SECONDS:
            self._report(step)
        if step.metrics:
            self._write(step, flattened({"val": step.metrics}))
        if step.ends_epoch:
            self._warn(step)
        if step.ends_epoch and self.run.pairs.keys() >= set(self.run.result_widths):
            self._save_samples(step)
        self._unsaved += 1

    def _warn(self, step: Step) -> None:
        """Print signs of collapse that begin or change with this epoch; those that last are not repeated."""
        signs = {role: NUMBER.sub("", warning) for role, warning in step.warnings.items()}
        rolled_back = self.run.collapse is not None and self.run.collapse.rolled_back
        for role, warning in step.warnings.items():
            if rolled_back or signs[role] != self._signs.get(role):
                message = f"[bold red]{role}, epoch {step.epoch}, step {step.number}[/]: {escape(warning)}"
                self.console.print(f"{message}; see {escape(self._report_page())}", soft_wrap=True)
        self._signs = signs

    def save_checkpoint(self, step: Step) -> None:
        """Save a checkpoint from which the run continues after a step."""
        if not self._unsaved:
            return
        # The log must hold everything up to the checkpoint.
        if not self._window.is_empty:
            self._report(step)
        written = size_of(self.out / METRICS_FILE)
        self._checkpoints.save({**self.run.checkpoint(step), "written": written})
        self._saved, self._unsaved = time.monotonic(), 0

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is too long ago."""
        schedule = self._schedule
        late = schedule.seconds and time.monotonic() - self._saved > schedule.seconds
        return bool(late or (schedule.steps and self._unsaved >= schedule.steps))

    def _report(self, step: Step) -> None:
        self._window.add(flattened(self.run.monitored()))
        means = self._window.means()
        self._read = time.monotonic()
        if self.run.context.config.on_nan != "rollback":
            self.run.require_finite(step.phase, step.epoch)
        self._write(step, means)
        losses = {title: means[name] for name, title in SHOWN.items() if name in means} or dict(list(means.items())[:2])
        text = ", ".join(f"{name} {value:.3g}" for name, value in losses.items())
        self._bars.update(self._tasks[step.phase], losses=text)
        stride = max(1, step.epochs // PLAIN_LINES)
        if not self.console.is_terminal and step.ends_epoch and (step.epoch % stride == 0 or step.epoch == step.epochs):
            progress = f"epoch {step.epoch}/{step.epochs}, step {step.number}/{step.total}"
            # `print` would wrap the line at the width of a terminal that is not there.
            self.console.out(f"{step.phase.title}: {progress}  {text}", highlight=False)

    def _report_page(self) -> str:
        """Return the path of the report so far, or why there is none, which is not a reason to stop."""
        try:
            return str(save_report([self.out]))
        except GccError as error:
            return f"metrics.jsonl, since the report could not be written: {error}"

    def _write(self, step: Step, values: Mapping[str, float]) -> None:
        append_line(self.out / METRICS_FILE, {"phase": step.phase, "epoch": step.epoch, "step": step.number, **values})
        self._log(step.phase, step.number, values)

    def _save_samples(self, step: Step) -> None:
        folder = self.out / SAMPLES
        with explained(folder), replacing(folder / f"{step.phase}_epoch_{step.epoch:04d}.png") as temporary:
            progress_grid(self.run).save(temporary)

"""The progress of a run: losses, metrics, sample grids and checkpoints on disk, a bar in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from rich.console import Console

from gcc.artifacts.metrics_log import POSITION, Phase, append_line
from gcc.artifacts.run_folder import METRICS_FILE, RECIPE_FILE, SAMPLES
from gcc.errors import GccError
from gcc.report.html import save_report
from gcc.training.checkpoint import Checkpoints, Schedule
from gcc.training.display import ProgressDisplay
from gcc.training.loop import TrainingLoop
from gcc.training.measure import progress_grid
from gcc.training.step import Step
from gcc.utils.files import replacing, write_text

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
        self._display = ProgressDisplay(console)
        write_text(out / RECIPE_FILE, run.recipe.to_toml(run.arch))
        checkpoints.begin()

    def __enter__(self) -> ProgressLog:
        self._display.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._display.__exit__(kind, error, traceback)

    def __call__(self, step: Step) -> None:
        """Record a step."""
        self._write()
        self._display.update(step, self.run.history.latest)
        self._display.warn(step, self.run.collapse, self._report_page)
        if step.ends_epoch and self.run.pairs.keys() >= set(self.run.result_widths):
            self._save_samples(step)
        self._unsaved += 1

    def save_checkpoint(self, step: Step) -> None:
        """Save a checkpoint from which the run continues after a step."""
        if not self._unsaved:
            return
        # The log must hold everything up to the checkpoint.
        self.run.read_losses(step)
        self._write()
        written = size_of(self.out / METRICS_FILE)
        self._checkpoints.save({**self.run.checkpoint(step), "written": written})
        self._saved, self._unsaved = time.monotonic(), 0

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is too long ago."""
        schedule = self._schedule
        late = schedule.seconds and time.monotonic() - self._saved > schedule.seconds
        return bool(late or (schedule.steps and self._unsaved >= schedule.steps))

    def _report_page(self) -> str:
        """Return the path of the report so far, or why there is none, which is not a reason to stop."""
        try:
            return str(save_report([self.out]))
        except GccError as error:
            return f"metrics.jsonl, since the report could not be written: {error}"

    def _write(self) -> None:
        """Write what the run has read since the last call."""
        for line in self.run.history.take():
            append_line(self.out / METRICS_FILE, line)
            self._log(line["phase"], line["step"], {name: value for name, value in line.items() if name not in POSITION})

    def _save_samples(self, step: Step) -> None:
        folder = self.out / SAMPLES
        grid = progress_grid(self.run.context, self.run.pairs)
        with replacing(folder / f"{step.phase}_epoch_{step.epoch:04d}.png") as temporary:
            grid.save(temporary)

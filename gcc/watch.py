"""Watching a run: its losses and samples on disk, and its progress in the terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gcc.conclusion import preview, rescue
from gcc.errors import GccError
from gcc.files import explained, replacing, write_text
from gcc.report.html import save_report
from gcc.result import Result
from gcc.run import Run, Step, require_finite
from gcc.training.record import PHASES, Window, append_line

SHORT = {"teacher/G": "teacher G", "student/G": "student G", "student/distill_G": "distill"}
"""The losses that are shown while training; `metrics.jsonl` has them all."""
SECONDS = 5.0
"""Time between two readings of the losses, which wait for the device."""
PLAIN_LINES = 20
"""Progress lines per phase where the output is no terminal."""


Scalars = Callable[[str, int, Mapping[str, float]], None]
"""Takes the phase, the step within it, and values by name."""


def nowhere(phase: str, step: int, values: Mapping[str, float]) -> None:
    """Keep no other record."""


def watched(run: Run, out: Path, console: Console, scalars: Scalars = nowhere) -> Result:
    """Train to the end, with everything that a run leaves in its folder `out`, and return what was trained.

    Args:
        run: what is trained.
        out: the run's folder, which exists.
        console: where progress goes.
        scalars: keeps another record of what goes to `metrics.jsonl`.

    Raises:
        GccError: training went wrong, or the folder cannot be written.
    """
    try:
        with Watcher(run, out, console, scalars) as watcher:
            for step in run.steps():
                watcher(step)
        result = run.result()
    except Exception as error:
        # What ended the run is to be told, whatever else goes wrong.
        with suppress(GccError, RuntimeError, MemoryError):
            _keep(run, out, console, error)
        raise
    result.save(out)
    return result


def _keep(run: Run, out: Path, console: Console, error: Exception) -> None:
    """Save what is worth keeping of a run that went wrong, and its report."""
    if kept := rescue(run, error):
        kept.save(out)
        for role, place in kept.places(out).items():
            epoch = next(iter(kept.sides[role].generators.values())).epoch
            console.print(f"the {role} of epoch {epoch}, which no test image has judged, is saved in {escape(str(place))}", soft_wrap=True)
    console.print(f"report: {escape(str(save_report([out])))}", soft_wrap=True)


class Watcher:
    """Writes `recipe.toml`, `metrics.jsonl` and `samples/*.png` to a folder and shows progress; to be called after every iteration.

    Args:
        run: what is watched.
        out: the run's folder, which exists.
        console: where progress goes; a bar with time left in a terminal, plain lines elsewhere.
        scalars: keeps another record of what goes to `metrics.jsonl`.
    """

    def __init__(self, run: Run, out: Path, console: Console, scalars: Scalars = nowhere) -> None:
        self.run = run
        self.out = out
        self.console = console
        self._scalars = scalars
        self._window = Window()
        self._read = time.monotonic()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[losses]}"),
            console=console,
            expand=True,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        write_text(out / "recipe.toml", run.recipe.to_toml(run.arch))

    def __enter__(self) -> Watcher:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._progress.stop()

    def __call__(self, step: Step) -> None:
        """Take in an iteration; read the losses every few seconds and at the end of every epoch."""
        if step.phase not in self._tasks:
            self._tasks[step.phase] = self._progress.add_task(PHASES.get(step.phase, step.phase), total=step.total, losses="")
        self._progress.update(self._tasks[step.phase], completed=step.number)
        self._window.add(step.losses)
        if step.ends_epoch or time.monotonic() - self._read > SECONDS:
            self._report(step)
        if step.figures:
            self._write(step, step.figures)
        for side, warning in step.warnings.items():
            told = f"[bold red]{side}, epoch {step.epoch}, step {step.number}[/]: {escape(warning)}"
            self.console.print(f"{told}; see {escape(self._page())}", soft_wrap=True)
        if step.ends_epoch and self.run.sides:
            self._save_samples(step)

    def _report(self, step: Step) -> None:
        self._window.add(self.run.state())
        means = self._window.means()
        self._read = time.monotonic()
        if self.run.on_collapse != "rollback":
            require_finite(means, f"{step.phase} epoch {step.epoch}, step {step.number}")
        self._write(step, means)
        shown = {short: means[name] for name, short in SHORT.items() if name in means} or dict(list(means.items())[:2])
        text = ", ".join(f"{name} {value:.3g}" for name, value in shown.items())
        self._progress.update(self._tasks[step.phase], losses=text)
        stride = max(1, step.epochs // PLAIN_LINES)
        if not self.console.is_terminal and step.ends_epoch and (step.epoch % stride == 0 or step.epoch == step.epochs):
            progress = f"epoch {step.epoch}/{step.epochs}, step {step.number}/{step.total}"
            # Not `print`, which would wrap the line at a width that no terminal has.
            self.console.out(f"{PHASES.get(step.phase, step.phase)}: {progress}  {text}", highlight=False)

    def _page(self) -> str:
        """Return where the report made of the run so far is, or why there is none, which is no reason to stop."""
        try:
            return str(save_report([self.out]))
        except GccError as error:
            return f"metrics.jsonl, since no report could be made: {error}"

    def _write(self, step: Step, values: Mapping[str, float]) -> None:
        append_line(self.out / "metrics.jsonl", {"phase": step.phase, "epoch": step.epoch, "step": step.number, **values})
        self._scalars(step.phase, step.number, values)

    def _save_samples(self, step: Step) -> None:
        folder = self.out / "samples"
        with explained(folder), replacing(folder / f"{step.phase}_epoch_{step.epoch:04d}.png") as fresh:
            preview(self.run).save(fresh)

"""Watching a run: its losses, samples and checkpoints on disk, and its progress in the terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from gcc.artifacts.metrics_log import PHASES, Window, append_line
from gcc.artifacts.run_folder import RESULTS
from gcc.data.loader import reader_died
from gcc.errors import DataError, GccError, Interrupted, RunError, TrainingError
from gcc.report.html import save_report
from gcc.training.checkpoint import USUAL, Checkpoints, Schedule
from gcc.training.measure import progress_grid, salvage
from gcc.training.result import Result
from gcc.training.run import Run, Step
from gcc.training.signals import stop_requested_by_signal
from gcc.utils.backend import is_compile_error, is_nondeterministic_error, is_out_of_memory
from gcc.utils.distributed import is_peer_lost
from gcc.utils.files import explained, replacing, set_aside, write_text

SHORT = {"teacher/G": "teacher G", "student/G": "student G", "student/distill_G": "distill"}
"""The losses that are shown while training; `metrics.jsonl` has them all."""
SECONDS = 5.0
"""Time between two readings of the losses, which wait for the device."""
METRICS_FILE = "metrics.jsonl"
PLAIN_LINES = 20
"""Progress lines per phase where the output is no terminal."""


Scalars = Callable[[str, int, Mapping[str, float]], None]
"""Takes the phase, the step within it, and values by name."""


def no_logger(phase: str, step: int, values: Mapping[str, float]) -> None:
    """Keep no other record."""


def run_session(run: Run, out: Path, console: Console, scalars: Scalars = no_logger, schedule: Schedule = USUAL, again: str = "") -> Result:
    """Train to the end, with everything that a run leaves in its folder `out`, and return what was trained.

    Of several processes all must call this, and the first one writes.

    Args:
        run: what is trained.
        out: the run's folder, which exists.
        console: where progress goes; of several processes, that of the first.
        scalars: keeps another record of what goes to `metrics.jsonl`.
        schedule: when checkpoints are written; in the end, when the result is saved, they are taken away.
        again: what makes a run that was stopped go on; none for the option.

    Raises:
        Interrupted: a signal asked the run to stop; a checkpoint is saved.
        GccError: training went wrong, or the folder cannot be written.
    """
    checkpoints = Checkpoints(out, schedule.keep)
    again = again or f"go on with --resume {out}"
    ranks = run.ranks

    def told() -> None:
        console.print("stopping after this iteration, to be resumed; again to leave at once", soft_wrap=True)

    step = None
    try:
        watcher = ProgressLog(run, out, console, scalars, checkpoints, schedule) if ranks.is_main_process else NonMainProcess(run)
        with watcher, stop_requested_by_signal(told) as asked:
            for step in run.steps():
                watcher(step)
                number, is_due = ranks.all_reduce_max(asked(), watcher.is_due)
                if number or is_due or step.ends_epoch:
                    watcher.checkpoint(step)
                if number:
                    raise Interrupted(f"stopped at {step.phase} epoch {step.epoch}, step {step.number}: {again}", number)
        result = run.result()
    except Interrupted:
        raise
    except Exception as error:
        # What ended the run is to be told, whatever else goes wrong.
        with suppress(GccError, RuntimeError, MemoryError):
            if step and ranks.alone and isinstance(error, DataError):
                # Batches are drawn between two iterations; of several processes, others may be in the midst of one.
                watcher.checkpoint(step)
            # What a collapse came from would only bring it about again.
            if not (checkpoints.is_empty or isinstance(error, TrainingError)):
                console.print(f"once that is mended, {escape(again)}", soft_wrap=True)
            if ranks.is_main_process:
                _keep(run, out, console, error)
        if told_as := _of_the_machine(run, error):
            raise told_as from error
        raise
    if ranks.is_main_process:
        result.save(out)
        checkpoints.clear()
    return result


def _of_the_machine(run: Run, error: Exception) -> GccError | None:
    """Return what to tell of an error that is the machine's and not the program's, if it is one."""
    if is_out_of_memory(error):
        parts = run.execution.micro_batch
        batches = f"batches of {run.recipe.batch_size} at {run.recipe.size} pixels" + (f" in parts of {parts}" if parts else "")
        return TrainingError(
            f"{batches} do not fit into the memory: give {'a smaller' if parts else 'a'} --micro-batch, or start anew with a lower "
            "--batch-size or --size; --amp bf16 takes less, too"
        )
    if is_nondeterministic_error(error):
        return GccError(f"--deterministic: {str(error).partition('.')[0]}: leave it out, or train on the CPU")
    if is_compile_error(error):
        return GccError(f"--compile: {str(error).strip().splitlines()[0]}: leave it out")
    if reader_died(error):
        return DataError("a process that reads images was killed: if memory is short, give fewer --workers")
    if not run.ranks.alone and is_peer_lost(error):
        return RunError("another process of this run has gone, and without it nothing can go on: see what it said")
    return None


def rewind(out: Path, snapshot: Mapping[str, Any]) -> None:
    """Take off a run's folder what the run wrote after a snapshot, and will write again: results are moved aside.

    Raises:
        OutputError: the folder cannot be written.
    """
    set_aside(out, RESULTS)
    record = out / METRICS_FILE
    if _size(record) > snapshot["written"]:
        with explained(record):
            os.truncate(record, snapshot["written"])


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _keep(run: Run, out: Path, console: Console, error: Exception) -> None:
    """Save what is worth keeping of a run that went wrong, and its report."""
    if kept := salvage(run, error):
        kept.save(out)
        for role, place in kept.places(out).items():
            epoch = next(iter(kept.pairs[role].generators.values())).epoch
            console.print(f"the {role} of epoch {epoch}, which no test image has judged, is saved in {escape(str(place))}", soft_wrap=True)
    console.print(f"report: {escape(str(save_report([out])))}", soft_wrap=True)


class NonMainProcess:
    """Takes part in what only the first of several processes does: its checkpoints tell of all.

    Args:
        run: what is trained.
    """

    is_due = False

    def __init__(self, run: Run) -> None:
        self.run = run

    def __enter__(self) -> NonMainProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        pass

    def __call__(self, step: Step) -> None:
        """Take in an iteration."""

    def checkpoint(self, step: Step) -> None:
        """Tell the first process what this one would need to go on."""
        self.run.snapshot(step)


class ProgressLog:
    """Writes `recipe.toml`, `metrics.jsonl` and `samples/*.png` to a folder and shows progress; to be called after every iteration.

    Args:
        run: what is watched.
        out: the run's folder, which exists.
        console: where progress goes; a bar with time left in a terminal, plain lines elsewhere.
        scalars: keeps another record of what goes to `metrics.jsonl`.
        checkpoints: where the run's state goes.
        schedule: when it goes there.
    """

    def __init__(self, run: Run, out: Path, console: Console, scalars: Scalars, checkpoints: Checkpoints, schedule: Schedule) -> None:
        self.run = run
        self.out = out
        self.console = console
        self._scalars = scalars
        self._checkpoints = checkpoints
        self._schedule = schedule
        self._saved, self._unsaved = time.monotonic(), 0
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
        checkpoints.begin()

    def __enter__(self) -> ProgressLog:
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
        if step.metrics:
            self._write(step, step.metrics)
        for side, warning in step.warnings.items():
            told = f"[bold red]{side}, epoch {step.epoch}, step {step.number}[/]: {escape(warning)}"
            self.console.print(f"{told}; see {escape(self._page())}", soft_wrap=True)
        if step.ends_epoch and self.run.sides:
            self._save_samples(step)
        self._unsaved += 1

    def checkpoint(self, step: Step) -> None:
        """Save all that the run needs to go on after an iteration."""
        if not self._unsaved:
            return
        # The record is to tell of all that is done by then.
        if not self._window.is_empty:
            self._report(step)
        written = _size(self.out / METRICS_FILE)
        self._checkpoints.save(self.run.snapshot(step) | {"written": written})
        self._saved, self._unsaved = time.monotonic(), 0

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint was too long ago."""
        schedule = self._schedule
        late = schedule.seconds and time.monotonic() - self._saved > schedule.seconds
        return bool(late or (schedule.steps and self._unsaved >= schedule.steps))

    def _report(self, step: Step) -> None:
        self._window.add(self.run.state())
        means = self._window.means()
        self._read = time.monotonic()
        if self.run.on_nan != "rollback":
            self.run.require_finite(step.phase, step.epoch)
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
        append_line(self.out / METRICS_FILE, {"phase": step.phase, "epoch": step.epoch, "step": step.number, **values})
        self._scalars(step.phase, step.number, values)

    def _save_samples(self, step: Step) -> None:
        folder = self.out / "samples"
        with explained(folder), replacing(folder / f"{step.phase}_epoch_{step.epoch:04d}.png") as fresh:
            progress_grid(self.run).save(fresh)

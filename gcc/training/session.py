"""Runs a training loop in a folder: resumes it, checkpoints it, and saves its result and report."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.markup import escape

from gcc.artifacts.run_folder import METRICS_FILE, RESULTS, claim
from gcc.artifacts.run_info import RunClock
from gcc.data.loader import READER_KILLED, reader_died
from gcc.errors import DataError, GccError, Interrupted, RunError, TrainingError, first_line
from gcc.recipe import size_text
from gcc.report.html import save_report
from gcc.training.checkpoint import DEFAULT_SCHEDULE, Checkpoints, CheckpointState, Schedule
from gcc.training.footprint import bytes_of_checkpoint, bytes_written
from gcc.training.loop import TrainingLoop
from gcc.training.measure import partial_result
from gcc.training.progress import Logger, ProgressLog, no_logger, size_of
from gcc.training.result import Result
from gcc.training.signals import stop_requested_by_signal
from gcc.training.step import Step
from gcc.utils.backend import is_compile_error, is_nondeterministic_error, is_out_of_memory
from gcc.utils.device import processors
from gcc.utils.distributed import is_peer_lost
from gcc.utils.files import FolderLock, explained, require_room, set_aside


class Session:
    """A run in its folder. As a context, it keeps other processes from the folder.

    A run resumes in this order: the command line restores the options from `command.json` (`gcc.artifacts.run_folder.load_command`).
    `resume` reads the newest checkpoint and hands it to the loop, which refuses it if it belongs to another run. `prepare` removes the
    lines that were logged after the checkpoint from `metrics.jsonl`. `train` then runs the loop, which skips the finished epochs
    (`TrainingLoop._remaining`) and restores the complete state when it begins the next one (`TrainingLoop._begin`).

    Attributes:
        checkpoint: what the run resumes from; empty if it starts anew.

    Args:
        run: the run.
        out: its folder.
        schedule: when checkpoints are written.
    """

    def __init__(self, run: TrainingLoop, out: Path, schedule: Schedule = DEFAULT_SCHEDULE) -> None:
        self.run = run
        self.out = out
        self.schedule = schedule
        self.checkpoint: CheckpointState = {}
        self._checkpoints = Checkpoints(out, schedule.keep)
        self._progress: ProgressLog | None = None
        self._lock = FolderLock(out)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Let other processes use the folder."""
        self._lock.release()

    def lock(self) -> None:
        """Keep other processes from the folder until this context ends, if the folder exists. All ranks must call this.

        Raises:
            RunError: another process trains there.
        """
        self.run.context.ranks.compute_on_main_process(self._require_lock)

    def _require_lock(self) -> None:
        if self.out.is_dir():
            self._lock.require()

    def resume(self) -> bool:
        """Hand the newest checkpoint in the folder to the training loop, and return whether there is one.

        `train` continues from it.

        Raises:
            RunError: the checkpoint belongs to another run.
        """
        self.checkpoint = self._checkpoints.newest()
        found = any(self.run.context.ranks.all_reduce_max(bool(self.checkpoint)))
        if found:
            self.run.resume(self.checkpoint)
        return found

    def prepare(self) -> Path | None:
        """Prepare and lock the folder, and return the folder that an earlier run in it was moved to. None if there was no earlier run.

        If the run resumes, results are moved aside, and metrics logged after the checkpoint are removed, since they will be logged again.

        Raises:
            OutputError: the folder cannot be written, or its disk is too full.
            RunError: another process trains there.
        """
        with explained(self.out):
            self.out.mkdir(parents=True, exist_ok=True)
            self._require_lock()
        needed = bytes_written(self.run.context) + max(1, self.schedule.keep) * bytes_of_checkpoint(self.run.context)
        if not self.checkpoint:
            return claim(self.out, needs=needed)
        require_room(self.out, needs=needed)
        set_aside(self.out, RESULTS)
        log = self.out / METRICS_FILE
        if size_of(log) > self.checkpoint["written"]:
            with explained(log):
                os.truncate(log, self.checkpoint["written"])
        return None

    def train(self, console: Console, log: Logger = no_logger, hint: str = "") -> Result:
        """Train to the end, save the result, and return it. All ranks must call this; the main process writes.

        Args:
            console: where progress goes, in the main process.
            log: also receives what goes to `metrics.jsonl`.
            hint: says how to resume a stopped run. Empty names the folder.

        Raises:
            Interrupted: a signal asked the run to stop; a checkpoint is saved.
            GccError: training failed, or the folder cannot be written.
        """
        hint = hint or f"continue from the newest checkpoint in {self.out}"
        clock = RunClock(self.out, processors(self.run.context.device))
        try:
            self._take_steps(console, log, hint, clock)
            result = self.run.result()
        except Interrupted:
            raise
        except Exception as error:
            # An error in here must not hide the original one.
            with suppress(Exception):
                self._save_what_is_left(error, console, hint)
            if explanation := self._explained(error):
                raise explanation from error
            raise
        if self.run.context.ranks.is_main_process:
            result.save(self.out)
            clock.finish()
            self._checkpoints.finish()
        return result

    def _take_steps(self, console: Console, log: Logger, hint: str, clock: RunClock) -> None:
        """Take all steps, log them and save checkpoints.

        Raises:
            Interrupted: a signal asked the run to stop; a checkpoint is saved.
        """

        def announce() -> None:
            console.print("stopping after this step, to be resumed; press again to leave at once", soft_wrap=True)

        with ExitStack() as stack:
            if self.run.context.ranks.is_main_process:
                progress = ProgressLog(self.run, self.out, console, log, self._checkpoints, self.schedule)
                self._progress = stack.enter_context(progress)
            signal_number = stack.enter_context(stop_requested_by_signal(announce))
            for step in self.run.steps():
                if number := self._follow(step, signal_number, clock):
                    raise Interrupted(f"stopped at {step.phase} epoch {step.epoch}, step {step.number}: {hint}", number)

    def _follow(self, step: Step, signal_number: Callable[[], int], clock: RunClock) -> int:
        """Log a step, save a checkpoint if one is due, and return the number of the signal that any rank has received, or 0."""
        progress = self._progress
        if progress:
            progress(step)
        number, is_due = self.run.context.ranks.all_reduce_max(signal_number(), bool(progress and progress.is_due))
        if number or is_due or step.ends_epoch:
            self._save_checkpoint(step)
            if progress:
                clock.save()
        return number

    def _save_checkpoint(self, step: Step) -> None:
        """Save a checkpoint after a step. All ranks contribute to it."""
        if self._progress is None:
            self.run.checkpoint(step)
        else:
            self._progress.save_checkpoint(step)

    def _save_what_is_left(self, error: Exception, console: Console, hint: str) -> None:
        """Save what a failed run has: its state if it can be resumed from there, its networks and its report."""
        ranks, last = self.run.context.ranks, self.run.resumable_step
        # A training batch that cannot be read leaves the state of the last step, but other ranks may be in the middle of the next.
        if last and not ranks.is_distributed and isinstance(error, DataError):
            with _errors_printed("the checkpoint", console):
                self._save_checkpoint(last)
        # Do not suggest resuming after a collapse: it would recur.
        if not (self._checkpoints.is_empty or isinstance(error, TrainingError)):
            console.print(f"once that is fixed, {escape(hint)}", soft_wrap=True)
        if ranks.is_main_process:
            with _errors_printed("the trained networks", console):
                self._save_partial_result(error, console)
            with _errors_printed("the report", console):
                console.print(f"report: {escape(str(save_report([self.out])))}", soft_wrap=True)

    def _save_partial_result(self, error: Exception, console: Console) -> None:
        """Save the partial result of a failed run, if there is one."""
        if result := partial_result(self.run.trained, error):
            result.save(self.out)
            for role, path in result.paths(self.out).items():
                epoch = next(iter(result.pairs[role].generators.values())).epoch
                console.print(f"the {role} of epoch {epoch}, without test metrics, is saved in {escape(str(path))}", soft_wrap=True)

    def _explained(self, error: Exception) -> GccError | None:
        """Translate an environment error, such as memory that is full, to a `GccError`. None for a programming error."""
        execution, recipe = self.run.context.execution, self.run.recipe
        if is_out_of_memory(error):
            parts = execution.micro_batch
            batches = f"batches of {recipe.batch_size} at {size_text(recipe)} pixels" + (f" in micro-batches of {parts}" if parts else "")
            return TrainingError(
                f"{batches} do not fit into memory: give {'a smaller' if parts else 'a'} `micro_batch`, or start anew with a lower "
                '`batch_size` or `size`; `amp="bf16"` takes less, too' + (", and so does `eager=True`" if execution.cuda_graphs else "")
            )
        if is_nondeterministic_error(error):
            return GccError(f"`deterministic`: {str(error).partition('.')[0]}: leave it out, or train on the CPU")
        if is_compile_error(error):
            return GccError(f"`compile`: {first_line(error)}: leave it out")
        if reader_died(error):
            return DataError(READER_KILLED)
        if self.run.context.ranks.is_distributed and is_peer_lost(error):
            return RunError("another process of this run has exited; see its error message")
        return None


@contextmanager
def _errors_printed(what: str, console: Console) -> Iterator[None]:
    """Print an error of the block as the reason why `what` is not saved."""
    try:
        yield
    except Exception as error:
        kind = "" if isinstance(error, GccError) else f"{type(error).__name__}: "
        console.print(f"{what} could not be saved: {kind}{escape(first_line(error))}", soft_wrap=True)

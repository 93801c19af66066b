"""Shows the progress of a run: a bar in a terminal or a notebook, plain lines elsewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

from gcc.artifacts.metrics_log import Phase
from gcc.errors import CollapseWarning
from gcc.training.collapse import CollapsePolicy
from gcc.training.step import Step
from gcc.utils.user_warnings import warn_user

SHOWN = {"teacher/G": "teacher G", "student/G": "student G", "student/distill_G": "distill"}
"""The losses that are shown; `metrics.jsonl` has all."""
NUMBER = re.compile(r"-?\b(?:\d[\d.e+-]*|inf|nan)")
"""The numbers of a warning, which differ in every epoch."""
PLAIN_LINES = 20
"""Progress lines per phase without a bar."""


def console_for(progress: bool | None) -> Console:
    """Return the console that shows the progress of a run in Python.

    Args:
        progress: whether to show it. None shows it in terminals and notebooks.
    """
    console = Console(stderr=True)
    console.quiet = not (console.is_terminal or console.is_jupyter if progress is None else progress)
    return console


class ProgressDisplay:
    """Shows epoch, speed, time left and losses. Call `update` after every step.

    Args:
        console: where progress goes.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        # In notebooks, rich draws a bar with ipywidgets only.
        self._has_bar = console.is_terminal or (console.is_jupyter and find_spec("ipywidgets") is not None)
        self._bars = Progress(
            TextColumn("{task.description}"),
            TextColumn("{task.fields[epoch]}"),
            BarColumn(bar_width=None),
            SpeedColumn(),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[losses]}"),
            console=console,
            expand=True,
            disable=console.quiet or not self._has_bar,
        )
        self._tasks: dict[Phase, TaskID] = {}
        self._signs: dict[str, str] = {}

    def __enter__(self) -> ProgressDisplay:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._bars.stop()

    def update(self, step: Step, losses: Mapping[str, float]) -> None:
        """Show a step.

        Args:
            step: the step.
            losses: the losses that were read last, by name.
        """
        shown = {title: losses[name] for name, title in SHOWN.items() if name in losses} or dict(list(losses.items())[:2])
        text = ", ".join(f"{name} {value:.3g}" for name, value in shown.items())
        epoch = f"epoch {step.epoch}/{step.epochs}"
        if step.phase not in self._tasks:
            self._tasks[step.phase] = self._bars.add_task(step.phase.title, total=step.total, epoch=epoch, losses=text)
        self._bars.update(self._tasks[step.phase], completed=step.number, epoch=epoch, losses=text)
        stride = max(1, step.epochs // PLAIN_LINES)
        if not self._has_bar and step.ends_epoch and (step.epoch % stride == 0 or step.epoch == step.epochs):
            speed = speed_text(self._bars.tasks[self._tasks[step.phase]])
            # `print` would wrap the line at the width of a terminal that is not there.
            self.console.out(
                ", ".join(filter(None, (f"{step.phase.title}: {epoch}", f"step {step.number}/{step.total}", speed))) + f"  {text}",
                highlight=False,
            )

    def warn(self, step: Step, collapse: CollapsePolicy | None, see: Callable[[], str] | None = None) -> None:
        """Show signs of collapse that begin or change with an epoch; those that last are not repeated.

        A quiet console shows nothing, so they are Python's warnings then.

        Args:
            step: the step; nothing is shown within an epoch.
            collapse: the policy that found the signs; what it rolls back is always shown.
            see: returns what says more about them.
        """
        if not step.ends_epoch:
            return
        signs = {role: NUMBER.sub("", warning) for role, warning in step.warnings.items()}
        rolled_back = collapse is not None and collapse.rolled_back
        for role, warning in step.warnings.items():
            if rolled_back or signs[role] != self._signs.get(role):
                position = f"{role}, epoch {step.epoch}, step {step.number}"
                if self.console.quiet:
                    warn_user(f"{position}: {warning}", CollapseWarning)
                else:
                    text = f"[bold red]{position}[/]: {escape(warning)}"
                    self.console.print(text + (f"; see {escape(see())}" if see else ""), soft_wrap=True)
        self._signs = signs


class SpeedColumn(TextColumn):
    """The steps per second."""

    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: Task) -> Text:
        return Text(speed_text(task), style="progress.data.speed")


def speed_text(task: Task) -> str:
    """Return the steps per second, or the seconds per step if a step takes longer than one. Empty before the second step."""
    speed = task.finished_speed or task.speed
    if not speed:
        return ""
    return f"{speed:.1f} it/s" if speed >= 1 else f"{1 / speed:.1f} s/it"

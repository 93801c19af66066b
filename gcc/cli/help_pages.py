"""The pages of `--help`: options in groups, and an example of every command."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

GROUPS: Mapping[str, Sequence[str]] = {
    "What is trained": (
        "arch",
        "teacher",
        "generator",
        "task",
        "example",
        "value_range",
        "student",
        "data",
        "dataset",
        "direction",
        "size",
        "range",
        "weights",
        "skip_bad",
        "cache",
    ),
    "The student": ("budget", "budgets", "mac_counter", "prune_width", "round_to", "metric", "selector", "widths", "preset", "presets"),
    "Training": ("epochs", "steps", "batch_size", "seed", "seeds", "evaluators", "recipe", "assignments"),
    "The machine": ("device", "amp", "micro_batch", "workers", "compile", "eager", "deterministic", "reference"),
    "If training goes wrong": ("on_collapse", "on_nan", "detect_anomaly"),
    "The output folder": ("out", "force", "resume", "checkpoint_every", "keep_checkpoints", "tensorboard", "dry_run"),
}
"""The options of long pages by the title of their group; others come last."""
OTHERS = "Options"
LONG = 12
"""A page with more options than this shows them in groups."""


class Command(click.Command):
    """A command whose page shows many options in groups, and ends with an example.

    An argument that it does not take is refused with the option that takes it, if there is one.

    Args:
        example: a command line.
        settings: those of `click.Command`.
    """

    def __init__(self, *settings: object, example: str = "", **named: object) -> None:
        super().__init__(*settings, **named)  # type: ignore[arg-type]
        self.example = example

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options and the arguments, and refuse further arguments."""
        if (extra := super().parse_args(ctx, args)) and not ctx.resilient_parsing:
            ctx.fail(f"Got unexpected extra argument{'s' if len(extra) > 1 else ''} ({' '.join(extra)}){self._advice(extra[0])}")
        return extra

    def _advice(self, argument: str) -> str:
        """Return which options take an argument: those for an architecture or an existing path; empty if none does."""
        from gcc.registry import ARCHITECTURES

        flags = {parameter.opts[0] for parameter in self.params}
        is_name = "--arch" in flags and argument in ARCHITECTURES.names()
        meant = ["--arch"] if is_name else ["--data", "--teacher"] if Path(argument).exists() else []
        known = [f"{flag} {shlex.quote(argument)}" for flag in meant if flag in flags]
        return f": did you mean {' or '.join(known)}?" if known else ""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in groups."""
        rows = {str(parameter.name): row for parameter in self.get_params(ctx) if (row := parameter.get_help_record(ctx))}
        titles = {name: title for title, names in GROUPS.items() for name in names} if len(rows) > LONG else {}
        for group in (*GROUPS, OTHERS):
            if of_group := [row for name, row in rows.items() if titles.get(name, OTHERS) == group]:
                with formatter.section(group):
                    formatter.write_dl(of_group)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example."""
        with formatter.section("Example"):
            # A command line is not wrapped, so that it can be copied.
            formatter.write(f"{'':>{formatter.current_indent}}{self.example}\n")

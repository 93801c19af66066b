"""What commands that train share: they start or resume a run, or a group of runs, in its folder, and print its plan and its results."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import click
from rich.console import Console, RenderableType

from gcc.artifacts.hub import is_address
from gcc.artifacts.run_folder import (
    FINAL_STATE,
    PATH_OPTIONS,
    RECIPE_FILE,
    STUDENT,
    TENSORBOARD,
    has_stopped,
    is_finished,
    load_command,
    require_free,
    resume_command,
    save_command,
)
from gcc.cli.errors import notice
from gcc.cli.options import AUTO
from gcc.cli.settings import command_line, report_overridden_fields, run_arguments, set_by_user, teacher_and_settings
from gcc.cli.tables import facts_table, printer, summary
from gcc.compressor import Compressor
from gcc.errors import GccError, Interrupted, RunError
from gcc.experiments.runs import RunGroup
from gcc.recipe import LENGTH_FIELDS, Recipe, current_names, read_toml, saved_length, without_replaced_length
from gcc.report.html import save_report
from gcc.training.checkpoint import Schedule
from gcc.training.longer import is_longer
from gcc.training.plan import longer_run
from gcc.training.progress import no_logger
from gcc.training.session import Session
from gcc.training.teacher_trainer import Trainer
from gcc.training.tensorboard import TensorBoard, require_tensorboard
from gcc.utils.device import peak_memory
from gcc.utils.files import fresh_folder


def run_command(kind: type[Compressor | Trainer], options: dict[str, Any]) -> None:
    """Start or resume a run in its folder, and print its plan and its results.

    Args:
        kind: the run's class.
        options: of the command.

    Raises:
        GccError: an option, the data, the folder or the machine does not allow the run, or training fails.
    """
    typed = dict(options)
    command, resume = str(click.get_current_context().info_name), options.pop("resume")
    if resume not in (None, AUTO):
        options = _saved_options(Path(resume), command, options)
    if options["tensorboard"]:
        require_tensorboard()
    schedule = Schedule.parse(options["checkpoint_every"], options["keep_checkpoints"])
    teacher, settings = teacher_and_settings(options)
    report_overridden_fields(typed)
    default_out = Path("runs") / teacher.arch
    if resume:
        saved = _fields_of_run(options["out"] or default_out)
        # A run becomes longer only if the user says so.
        settings = without_replaced_length(saved, settings) | settings
    run = kind(teacher, **run_arguments(options), **settings)
    out = options["out"] or (default_out if resume else fresh_folder(default_out))
    if out not in (options["out"], default_out) and has_stopped(default_out):
        notice(f"{default_out} contains a run that has not finished, which --resume auto continues; this is another run, in {out}")
    with Session(run, out, schedule) as session:
        if not options["dry_run"]:
            session.lock()
        _start_or_resume(session, command, options, resume)


def _start_or_resume(session: Session, command: str, options: dict[str, Any], resume: str | None) -> None:
    """Run a session from its beginning or its newest checkpoint; `resume` is the value of --resume."""
    run, out = session.run, session.out
    if resume and is_finished(out) and not is_longer(run, out):
        further = "; to train it further, give more --epochs or --steps" if (out / FINAL_STATE).exists() else ""
        click.echo(f"the run in {out} is finished: there is nothing to resume{further}")
        return
    if resume and not session.resume():
        if is_finished(out):
            raise RunError(f"{out} cannot go on: its last state was not kept; train its student further with --student {out / STUDENT}")
        if resume != AUTO:
            raise RunError(f"{out} cannot be resumed: it has no complete checkpoint; start again with --resume auto or --force")
    run.check()
    if not run.context.ranks.is_main_process:
        if not options["dry_run"]:
            session.train(Console(quiet=True))
        return
    checkpoint, facts = session.checkpoint, {}
    if checkpoint:
        step = (checkpoint["epoch"] - 1) * run.context.loader.steps + checkpoint["done"]
        facts["resumed"] = f"after {checkpoint['phase']} epoch {checkpoint['epoch']}, step {step}"
        if longer := longer_run(run.recipe, run.result_widths, checkpoint):
            facts["longer"] = longer
    else:
        # `--resume auto` may overwrite a run without a checkpoint.
        inputs = [options[name] for name in PATH_OPTIONS if options.get(name) and not is_address(options[name])]
        require_free(out, force=options["force"] or resume == AUTO, inputs=inputs)
    console = printer()
    console.print(facts_table(run.plan() | facts | {"output": str(out)}))
    if options["dry_run"]:
        click.echo(run.recipe.to_toml(run.arch), nl=False)
        return
    if replaced := session.prepare():
        console.print(facts_table({"moved aside": f"the previous run in {out} is now in {replaced}"}))
    save_command(out, command, options, command_line(options))
    log = TensorBoard(out / TENSORBOARD) if options["tensorboard"] else no_logger
    result = session.train(Console(stderr=True), log, f"continue with {resume_command(command, out)}")
    # Write the report first: the next print may end the program with a broken pipe.
    page = save_report([out])
    console.print(summary(run.arch, result.measurements(), result.paths(out), out))
    memory = {} if sys.platform == "win32" else {"peak memory": peak_memory(run.context.device)}
    console.print(facts_table({"report": str(page)} | memory))


def options_of_group(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a command that trains several runs; with `--resume`, those of the runs in that folder.

    Raises:
        GccError: the folder contains no runs of this command.
    """
    resume = options.pop("resume")
    return _saved_options(resume, str(click.get_current_context().info_name), options) if resume else options


def train_group(group: RunGroup[Any], options: Mapping[str, Any], results: Callable[[], RenderableType]) -> None:
    """Print the plan of several runs, train those that are not finished, and print their results; a dry run prints the plan only.

    Args:
        group: the runs.
        options: of the command.
        results: returns what is printed at the end.

    Raises:
        GccError: a run is impossible or fails, or the folder contains other runs.
        Interrupted: Ctrl-C stops the command, within a run or between two.
    """
    console = printer()
    console.print(facts_table(group.plan()))
    if options["dry_run"]:
        return
    titles = group.runs(Console(stderr=True))
    # Refuses runs that do not fit the folder, which then stays as it is.
    first = next(titles, None)
    save_command(group.out, str(click.get_current_context().info_name), options, command_line(options))
    try:
        for title in chain(filter(None, [first]), titles):
            click.echo(title, err=True)
        # Write the files first: the next print may end the program with a broken pipe.
        paths = group.save()
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped: {group.hint}", signal.SIGINT) from error
    console.print(results())
    for path in paths:
        click.echo(path)


def _saved_options(out: Path, command: str, options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the run in `out`, changed by those that the user has set."""
    changed = set_by_user(options)
    if "out" in changed:
        raise GccError(f"--resume {out} resumes the run in that folder: leave out --out, or use --resume auto")
    if changed & LENGTH_FIELDS:
        # A run that counts epochs may go on for a number of steps, and the other way round.
        changed |= LENGTH_FIELDS
    saved = load_command(out, command, options, changed - {"data"}) | {"out": out}
    if saved.get("generator") and "generator" not in changed:
        raise GccError(
            f"the run in {out} trains a generator that {saved['generator']} makes, and code that a file names is not imported: "
            f"give --generator {saved['generator']} again"
        )
    for name in ("data", "teacher"):
        path = saved.get(name)
        if name not in changed and path is not None and not is_address(path) and not path.exists():
            raise GccError(f"the run in {out} was started with --{name} {path}, which does not exist: give its new place with --{name}")
    if "data" not in changed:
        return saved
    before, data = saved["data"], options["data"]
    if before is not None and before.resolve() != data.resolve():
        notice(f"the run was trained on {before} and continues with {data}: its values are comparable only if these are the same images")
    return saved | {"data": data}


def _fields_of_run(out: Path) -> dict[str, Any]:
    """Return the recipe fields of the run in `out` whose defaults depend on others, and on the version that started the run."""
    if not (out / RECIPE_FILE).exists():
        return {}
    saved = {"alpha_reach": Recipe.alpha_reach} | current_names(read_toml(out / RECIPE_FILE))
    return {name: saved[name] for name in ("metric", "mac_counter", "prune_width", "alpha_reach") if name in saved} | saved_length(saved)

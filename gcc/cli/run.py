"""The life of a run in its folder: started, resumed, or refused, and summarised at the end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from gcc.artifacts.run_folder import RECIPE_FILE, claim, is_finished, load_command, require_free, save_command
from gcc.cli.options import run_arguments, set_by_user, teacher_and_settings
from gcc.cli.tables import facts_table, printer, summary
from gcc.errors import GccError, RunError
from gcc.recipe import current_names, differences, read_toml
from gcc.report.html import save_report
from gcc.training.checkpoint import Checkpoints, Schedule
from gcc.training.run import Run
from gcc.training.session import no_logger, rewind, run_session
from gcc.training.tensorboard import FOLDER as TENSORBOARD
from gcc.training.tensorboard import TensorBoard, require_tensorboard
from gcc.utils.device import peak_memory
from gcc.utils.files import fresh_folder, require_room

AUTO = "auto"
"""The value of `--resume` that resumes the run in `--out`, or starts one."""


def run_command(kind: type[Run], options: dict[str, Any]) -> None:
    """Run `compress` or `train`: start or resume a run in its folder, and print its plan and its results.

    Args:
        kind: the run's class.
        options: of the command.

    Raises:
        GccError: an option, the data, the folder or the machine does not allow the run, or training fails.
    """
    command, resume = str(click.get_current_context().info_name), options.pop("resume")
    if resume not in (None, AUTO):
        changed = set_by_user(options)
        if "out" in changed:
            raise GccError(f"--resume {resume} resumes the run in that folder: leave out --out, or use --resume auto")
        options = load_command(Path(resume), command, options, changed) | {"out": Path(resume)}
    if options["tensorboard"]:
        require_tensorboard()
    schedule = Schedule.parse(options["checkpoint_every"], options["keep_checkpoints"])
    teacher, settings = teacher_and_settings(options)
    run = kind(teacher, **run_arguments(options), **settings)
    default_out = Path("runs") / run.arch
    out = options["out"] or (default_out if resume else fresh_folder(default_out))
    snapshot = Checkpoints(out).newest() if resume else {}
    if any(run.ranks.all_reduce_max(bool(snapshot))):
        run.resume(snapshot)
    elif resume and is_finished(out):
        if changes := differences(current_names(read_toml(out / RECIPE_FILE)), run.recipe.to_dict() | {"arch": run.arch}):
            raise RunError(f"the run in {out} is finished, with another recipe: {changes}; choose another --out")
        click.echo(f"the run in {out} is finished: there is nothing to resume")
        return
    elif resume not in (None, AUTO):
        raise RunError(f"{out} cannot be resumed: it has no complete checkpoint; start again with --resume auto or --force")
    run.check()
    if not run.ranks.is_main_process:
        if not options["dry_run"]:
            run_session(run, out, Console(quiet=True))
        return
    if not snapshot:
        # A run without a checkpoint, which `auto` replaces, has hardly begun.
        inputs = [options[name] for name in ("data", "teacher") if options[name]]
        require_free(out, force=options["force"] or resume == AUTO, inputs=inputs)
    console = printer()
    facts = {"resumed": f"after {snapshot['phase']} epoch {snapshot['epoch']}, step {snapshot['done']}"} if snapshot else {}
    console.print(facts_table(run.plan() | facts | {"output": str(out)}))
    if options["dry_run"]:
        click.echo(run.recipe.to_toml(run.arch), nl=False)
        return
    needs = run.bytes_written() + schedule.keep * run.bytes_of_snapshot()
    if snapshot:
        require_room(out, needs=needs)
        rewind(out, snapshot)
    elif replaced := claim(out, needs=needs):
        console.print(facts_table({"moved aside": f"the previous run in {out} is now in {replaced}"}))
    save_command(out, command, options)
    scalars = TensorBoard(out / TENSORBOARD) if options["tensorboard"] else no_logger
    result = run_session(run, out, Console(stderr=True), scalars, schedule)
    # Written first: if nobody reads standard output any more, the program ends at the first print.
    page = save_report([out])
    console.print(summary(run.arch, result.measurements(), result.places(out), out))
    memory = {} if sys.platform == "win32" else {"peak memory": peak_memory(run.device)}
    console.print(facts_table({"report": str(page)} | memory))

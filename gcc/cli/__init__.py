"""The command line: parse, call, print.

Torch is imported by the commands that need it, not by this module, so that `--help` is there at once.
"""

from __future__ import annotations

import errno
import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gcc.cli.sigint import exit_on_sigint_during_import
from gcc.cli.stderr import tolerate_broken_stderr
from gcc.errors import GccError, Interrupted, RunError

if TYPE_CHECKING:
    from gcc.training.run import Run
    from gcc.training.teacher import Teacher

FOLDER = click.Path(path_type=Path)
COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}
"""Of what `doctor` says."""


class Program(click.Group):
    """A group that turns a `GccError` into one line on standard error and exit code 2, and Ctrl-C into exit code 130."""

    def invoke(self, ctx: click.Context) -> Any:
        with tolerate_broken_stderr(), exit_on_sigint_during_import():
            return self._told(ctx)

    def _told(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Interrupted as error:
            if _process() == "0":
                click.echo(f"gcc: {_line(error)}", err=True)
            ctx.exit(error.exit_code)
        except GccError as error:
            where = "" if _process() == "0" else f" in process {_process()}"
            click.echo(f"gcc: error{where}: {_line(error)}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            # Such as standard output on a full disk; what a run reads and writes has errors of its own.
            if error.errno == errno.EPIPE:
                raise
            click.echo(f"gcc: error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("gcc: stopped", err=True)
            ctx.exit(130)
        except (click.exceptions.Exit, click.Abort):
            # Click's own ways to end are runtime errors, too.
            raise
        except (MemoryError, RuntimeError) as error:
            from gcc.utils.backend import is_out_of_memory

            if not is_out_of_memory(error):
                raise
            # A run says more.
            click.echo("gcc: error: there is not enough memory: give fewer or smaller images at a time, or end other programs", err=True)
            ctx.exit(2)


def _line(error: GccError) -> str:
    """Return a message as a line without the control characters that strangers' names may have, and a terminal would obey."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in str(error))


def _process() -> str:
    """Return the number of this process among those that `torchrun` has started."""
    return os.environ.get("RANK", "0")


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Compress GAN generators to a budget (GCC, NeurIPS 2021).

    Everything that is none of the commands below goes to the C compiler of the same name; `gancc` is this program alone.
    """


def _with(options: list[Callable[..., Any]], command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(options):
        command = option(command)
    return command


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what is trained, on what, where and how."""
    options = [
        click.option("--arch", metavar="NAME", help="GAN architecture, see `gcc list`; a --teacher knows its own."),
        click.option("--data", metavar="DIR", type=FOLDER, help="Training images in their usual layout  [default: demo data]"),
        click.option("--dataset", metavar="NAME", help="Data set plugin that reads --data  [default: told from the layout]"),
        click.option("--teacher", metavar="DIR", type=FOLDER, help="Start from a saved teacher's weights and recipe."),
        click.option(
            "--weights", "files", metavar="NAME=FILE", multiple=True, help="Trained weights of a network, such as vgg19 or inception."
        ),
        click.option(
            "--evaluators", metavar="NAMES", help="Evaluators, joined by commas, see `gcc list`; the first chooses the best epoch."
        ),
        click.option("--direction", type=click.Choice(["AtoB", "BtoA"]), help="Which image of a pair is the input."),
        click.option("--size", type=int, metavar="N", help="Height and width of the training images."),
        click.option("--epochs", type=int, metavar="N", help="Epochs of the second step; the first has a tenth as many."),
        click.option("--batch-size", type=int, metavar="N", help="Samples in a batch."),
        click.option(
            "--micro-batch",
            type=click.IntRange(1),
            metavar="N",
            help="Samples that a network sees at once, for less memory.",
        ),
        click.option("--seed", type=int, metavar="N", help="Seed of everything random."),
        click.option("--recipe", metavar="FILE.toml", type=FOLDER, help="Recipe fields from a file."),
        click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any recipe field (--dry-run prints all)."),
        click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--amp", type=click.Choice(["auto", "bf16", "fp16", "off"]), default="auto", show_default=True, help="Mixed precision."
        ),
        click.option("--reference", is_flag=True, help="Run slowly, as the reference for what is faster: float32, torch's own layouts."),
        click.option(
            "--on-collapse",
            type=click.Choice(["warn", "stop", "rollback"]),
            default="warn",
            show_default=True,
            help="When the game collapses: say so, stop, or go back to the last sound epoch.",
        ),
        click.option(
            "--on-nan",
            type=click.Choice(["stop", "rollback"]),
            default="stop",
            show_default=True,
            help="When a loss is not finite: stop, or go back to the last sound epoch.",
        ),
        click.option("--detect-anomaly", is_flag=True, help="Stop at the first layer whose values are not finite, and name it: slowly."),
        click.option("--compile", is_flag=True, help="Compile networks by torch.compile, for GPUs: the first steps are slow."),
        click.option("--deterministic", is_flag=True, help="Use only algorithms that give the same bits again, on a GPU, too."),
        click.option("--workers", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Processes that read images."),
        click.option("--cache", is_flag=True, help="Decode the images once and keep them beside the data, in .gcc/."),
        click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read."),
        click.option("--out", metavar="DIR", type=FOLDER, help="Output folder  [default: runs/ARCH, numbered]"),
        click.option("--dry-run", is_flag=True, help="Print the full recipe, costs and plan, and run nothing."),
    ]
    return _with(options, command)


def folder_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that write a single run's folder."""
    options = [
        click.option("--force", is_flag=True, help="Move the run that --out holds aside."),
        click.option("--tensorboard", is_flag=True, help="Keep a record for TensorBoard, too, in the output folder."),
        click.option("--resume", metavar="DIR|auto", help="Go on with the run in DIR; auto: with that in --out, else start one."),
        click.option(
            "--checkpoint-every",
            default="10m",
            show_default=True,
            metavar="T",
            help="Time between two checkpoints in minutes, or as iterations such as 500; one follows every epoch, too.",
        ),
        click.option(
            "--keep-checkpoints", type=click.IntRange(1, 1000), default=2, show_default=True, metavar="N", help="Checkpoints that are kept."
        ),
    ]
    return _with(options, command)


def search_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of commands that search a student's widths."""
    options = [
        click.option("--metric", metavar="NAME", help="Importance metric: slimming, l1 or a plugin's."),
        click.option("--selector", metavar="NAME", help="Distillation layers: paper, uniform, all, or module names joined by commas."),
        click.option("--prune-width", type=int, metavar="N", help="Width of the generator that is pruned."),
        click.option(
            "--budget",
            metavar="B",
            help="3.0G or 900M MACs, 25% of the teacher's, 2.5Mparams, 8ms@cpu (cuda, onnxruntime); or one per generator, by commas.",
        ),
        click.option("--round-to", type=int, metavar="N", help="Prune to multiples of so many channels, such as 8."),
        click.option("--mac-counter", type=click.Choice(["exact", "paper"]), help="MACs counter that the budget is held against."),
    ]
    return _with(options, command)


def student_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say what student a compression makes."""
    options = [
        click.option("--preset", metavar="NAME", help="The method without a part of it, as in `gcc ablate`, such as pruned-only."),
        click.option("--widths", metavar="DIR", type=FOLDER, help="Take a saved student's widths, and search none."),
    ]
    return _with(options, command)


@main.command()
@run_options
@folder_options
@search_options
@student_options
def compress(**options: Any) -> None:
    """Compress a teacher's generators to a budget.

    Without --data this runs on demo data, in minutes on a CPU.
    """
    from gcc.compressor import Compressor

    _run(Compressor, options)


@main.command()
@run_options
@folder_options
def train(**options: Any) -> None:
    """Train a teacher by itself, to be compressed later with `gcc compress --teacher`."""
    from gcc.training.teacher_trainer import Trainer

    _run(Trainer, options)


@main.command()
@run_options
@search_options
@click.option("--presets", metavar="NAMES", default="", help="Variants, joined by commas  [default: all, from pruned-only to gcc]")
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, show_default=True, metavar="N", help="Runs of each variant.")
def ablate(presets: str, seeds: int, **options: Any) -> None:
    """Train the method without each of its parts, at the same widths, seeds and steps, and compare.

    Called again, it goes on after the last run that was finished.
    """
    from rich.console import Console

    from gcc.cli.ablation import Ablation
    from gcc.cli.tables import ablation_table, facts_table, printer

    teacher, settings = _teacher(options)
    out = options["out"] or Path("runs") / f"{teacher.arch}-ablation"
    ablation = Ablation(teacher, out, presets=presets, seeds=seeds, arguments=_run_arguments(options), settings=settings)
    console = printer()
    console.print(facts_table(ablation.plan()))
    if options["dry_run"]:
        return
    for title in ablation.runs(Console(stderr=True)):
        click.echo(title, err=True)
    console.print(ablation_table(ablation.rows()))
    for written in ablation.save():
        click.echo(written)


@main.command()
@run_options
@search_options
@student_options
def doctor(**options: Any) -> None:
    """Look for what stands in the way of a compression: the installation, device, data, weights, budget, memory and disk.

    It takes the arguments of `gcc compress` but for those about what is kept and resumed, begins nothing, and ends with exit code 1 where
    it finds an error. Without any it looks at the machine alone.
    """
    from gcc.cli.installation import Finding, installation

    def told(findings: Iterable[Finding]) -> bool:
        """Print findings one by one, and return whether none is an error."""
        verdicts = []
        for finding in findings:
            status = click.style(f"{finding.status:8}", fg=COLOURS[finding.status])
            click.echo(f"{status} {finding.title:12} {finding.text}")
            verdicts.append(finding.status)
        return "error" not in verdicts

    context = click.get_current_context()
    given = {name for name in options if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE}
    sound = told(installation())
    if sound:
        from gcc.cli.prospects import machine, prospects

        sound = told(machine(options["device"], options["amp"]))
        if given - {"device", "amp"}:
            teacher, settings = _teacher(options)
            arguments = _run_arguments(options | {"dry_run": True})
            sound = told(prospects(teacher, settings, out=options["out"], **arguments)) and sound
    context.exit(0 if sound else 1)


@main.command()
@click.argument("student", type=FOLDER)
@click.option("--against", metavar="TEACHER", type=FOLDER, help="Another saved generator to time beside it.")
@click.option("--batch-size", "batches", default="1", show_default=True, metavar="N,N", help="Samples in a pass, joined by commas.")
@click.option("--size", "sizes", default="", metavar="N,N", help="Heights and widths, joined by commas  [default: as trained]")
@click.option("--device", "devices", default="cpu", show_default=True, metavar="NAMES", help="Of cpu, cuda and onnxruntime, by commas.")
@click.option("--json", "out", metavar="FILE", type=FOLDER, help="Where the figures go, too.")
def bench(student: Path, against: Path | None, batches: str, sizes: str, devices: str, out: Path | None) -> None:
    """Time a saved generator, ready for inference: latency, throughput and memory."""
    from gcc.cli.tables import printer, timings_table
    from gcc.deploy.bench import bench as timed
    from gcc.deploy.bench import rows, save_rows

    numbers = {"batch_sizes": _numbers("--batch-size", batches), "sizes": _numbers("--size", sizes)}
    found = rows(list(timed(student, against, runtimes=devices.split(","), **numbers)), against)
    printer().print(timings_table(found))
    if out:
        save_rows(out, found)
        click.echo(f"figures saved in {out}")


@main.command("list")
def list_plugins() -> None:
    """List every plugin of every registry."""
    from gcc.cli.tables import plugin_table, printer
    from gcc.registry import REGISTRIES

    console = printer()
    for registry in REGISTRIES:
        console.print(plugin_table(registry.kind, registry.listings()))


@main.group()
def plugin() -> None:
    """Write plugins of your own."""


@plugin.command("new")
@click.argument("name")
@click.option(
    "--kind", type=click.Choice(["architecture", "metric", "selector"]), default="architecture", show_default=True, help="What it adds."
)
@click.option("--out", metavar="DIR", type=FOLDER, help="Folder of the distribution  [default: gcc-NAME]")
def new_plugin(name: str, kind: str, out: Path | None) -> None:
    """Write the skeleton of a plugin: a distribution that works, with its contract test."""
    from gcc.cli.templates import write_skeleton

    written = write_skeleton(name, kind, out)
    for path in written:
        click.echo(path)
    folder = written[0].parent
    click.echo(f"install and test it: pip install -e '{folder}[test]' && pytest {folder}")


@main.command()
@click.argument("subject", metavar="ARCH|DIR")
@click.option("--size", type=int, metavar="N", help="Height and width of the training images; for an architecture.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any recipe field; for an architecture.")
def inspect(subject: str, size: int | None, assignments: tuple[str, ...]) -> None:
    """Show layers, widths, groups and costs of an architecture or of a saved generator."""
    from gcc.cli.inspection import inspect_architecture, inspect_saved
    from gcc.cli.tables import printer

    if Path(subject).exists() or Path(subject).name != subject:
        parts = inspect_saved(Path(subject))
    else:
        parts = inspect_architecture(subject, _assigned(assignments) | _given({"size": size}))
    console = printer()
    for part in parts:
        console.print(part)


@main.command()
@click.argument("student", type=FOLDER)
@click.argument("source", metavar="INPUT", type=FOLDER)
@click.argument("target", metavar="OUTPUT", type=FOLDER)
@click.option(
    "--size", type=click.IntRange(1, 16384), metavar="N", help="Height and width that images are resized to  [default: as trained]"
)
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read.")
def translate(student: Path, source: Path, target: Path, size: int | None, device: str, skip_bad: bool) -> None:
    """Run a saved generator on one image, or on every image of a folder."""
    from gcc.deploy.translate import translate as translated

    def leave_out(error: GccError) -> None:
        if not skip_bad:
            raise GccError(f"{error} (--skip-bad leaves bad images out)") from error
        click.echo(f"gcc: left out: {error}", err=True)

    for written in translated(student, source, target, size=size, device=device, leave_out=leave_out):
        click.echo(written)


@main.command()
@click.argument("student", type=FOLDER)
@click.option("--count", type=click.IntRange(1, 1_000_000), default=64, show_default=True, metavar="N", help="Number of images.")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, metavar="N", help="Seed of the noise.")
@click.option("--out", metavar="DIR", type=FOLDER, help="Output folder  [default: generated, numbered]")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N.")
def generate(student: Path, count: int, seed: int, out: Path | None, device: str) -> None:
    """Make images from noise with a saved generator, and a grid of them."""
    from gcc.deploy.generate import generate as generated
    from gcc.utils.files import fresh_folder

    for written in generated(student, out or fresh_folder(Path("generated")), count=count, seed=seed, device=device):
        click.echo(written)


@main.command()
@click.argument("student", type=FOLDER)
@click.option(
    "--format",
    "form",
    type=click.Choice(["onnx", "torchscript", "pt2", "safetensors"]),
    default="onnx",
    show_default=True,
    help="Of the file; pt2 is torch.export's, safetensors holds the folded weights alone.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of an ONNX file's weights and features.",
)
@click.option("--calibration", metavar="DIR", type=FOLDER, help="Input images for fp16 and int8  [default: the run's data, or noise]")
@click.option("--out", metavar="FILE", type=FOLDER, help="The file  [default: beside STUDENT, named after it]")
def export(student: Path, form: str, precision: Any, calibration: Path | None, out: Path | None) -> None:
    """Write a saved generator for other programs, ready for inference and compared with PyTorch."""
    from gcc.cli.tables import facts_table, printer
    from gcc.deploy.export import export as exported

    written = exported(student, out, format=form, precision=precision, calibration=calibration)
    printer().print(facts_table(written.facts()))


@main.command()
@click.argument("subject", metavar="STUDENT|TEACHER|IMAGES", type=FOLDER)
@click.option("--data", metavar="DIR", type=FOLDER, help="Data set of a generator [default: demo data]; or folder of the real images.")
@click.option(
    "--evaluators", metavar="NAMES", default="", help="Evaluators, joined by commas, see `gcc list`  [default: the generator's recipe's]"
)
@click.option(
    "--split", type=click.Choice(["test", "val"]), default="test", show_default=True, help="Split of the data set; for a generator."
)
@click.option("--dataset", metavar="NAME", help="Data set plugin that reads --data  [default: told from the layout]")
@click.option("--weights", "files", metavar="NAME=FILE", multiple=True, help="Trained weights of a network, such as inception.")
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images that are seen at once  [default: the recipe's]")
@click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N.")
@click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read.")
@click.option("--out", metavar="FILE.json", type=FOLDER, help="Where the figures go, too  [default: beside what is judged]")
def evaluate(subject: Path, data: Path | None, files: tuple[str, ...], out: Path | None, **options: Any) -> None:
    """Judge saved generators on a data set, or a folder of images beside real ones."""
    from gcc.cli.tables import figures_table, printer
    from gcc.evaluation.evaluate import evaluate, evaluation_path, free_path, save_evaluation

    usual = evaluation_path(subject, options["split"], out)
    evaluation = evaluate(subject, data, weights=_weights(files), **options)
    console = printer()
    for generator, figures in evaluation.metrics.items():
        console.print(figures_table(f"{subject} {generator}", {title: asdict(figure) for title, figure in figures.items()}))
        if any(math.isnan(figure.value) for figure in figures.values()):
            click.echo(f"gcc: {generator}: figures are no numbers where what it makes, or what they compare, is none", err=True)
    for reason in evaluation.left_out:
        click.echo(f"gcc: left out: {reason}", err=True)
    place = out or free_path(usual, evaluation)
    save_evaluation(place, evaluation)
    click.echo(f"figures saved in {place}")


@main.command("import")
@click.argument("file", metavar="FILE.pth", type=FOLDER)
@click.argument("out", metavar="OUT", type=FOLDER)
@click.option("--arch", metavar="NAME", required=True, help="GAN architecture of the file, see `gcc list`.")
@click.option("--generator", metavar="NAME", help="Which generator it is, where there are several  [default: the first]")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any recipe field that the file does not tell.")
@click.option("--force", is_flag=True, help="Move the generator that OUT holds aside.")
def import_weights(file: Path, out: Path, arch: str, generator: str | None, assignments: tuple[str, ...], force: bool) -> None:
    """Make a teacher of a generator that another program has trained, such as latest_net_G.pth of pytorch-CycleGAN-and-pix2pix."""
    from gcc.cli.tables import comparison_table, printer
    from gcc.training.import_teacher import import_generator

    side = import_generator(arch, file, out, generator=generator, settings=_assigned(assignments), force=force)
    console = printer()
    for name, measured in side.generators.items():
        console.print(comparison_table(f"{arch} {name}", {"teacher": measured.measurements()}))
    click.echo(f"teacher saved in {out}")
    for missing in side.missing(out):
        click.echo(f"a whole teacher also needs the generator {missing}: import it into {out} with --generator {missing}")


@main.command("report")
@click.argument("runs", metavar="RUN...", type=FOLDER, nargs=-1, required=True)
@click.option("--out", metavar="FILE", type=FOLDER, help="The page  [default: report.html in RUN; of several, in the current folder]")
def make_report(runs: tuple[Path, ...], out: Path | None) -> None:
    """Make the report of a run anew, or lay several runs side by side in one page.

    It is a single file of HTML, which needs no network.
    """
    from gcc.report.html import save_report

    click.echo(save_report(runs, out))


@main.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.argument("repository", metavar="USER/NAME")
@click.option("--private", is_flag=True, help="A new repository is seen by its owner alone.")
def push(folder: Path, repository: str, private: bool) -> None:
    """Put a saved student or teacher on the Hugging Face Hub, as hf://USER/NAME."""
    from gcc.artifacts.sharing import push as pushed

    click.echo(pushed(folder, repository, private=private))


@main.command()
@click.argument("name", metavar="USER/NAME[@REVISION]")
@click.option("--out", metavar="DIR", type=FOLDER, help="Output folder  [default: NAME]")
def pull(name: str, out: Path | None) -> None:
    """Copy a student or teacher from the Hugging Face Hub to a folder."""
    from gcc.artifacts.sharing import pull as pulled

    click.echo(pulled(name, out))


@main.command()
def version() -> None:
    """Show the versions of this program, torch and Python."""
    import platform
    from importlib.metadata import version as installed

    click.echo(f"gan-gcc {installed('gan-gcc')}, torch {installed('torch')}, Python {platform.python_version()}")


AUTO = "auto"
RUN_ARGUMENTS = (
    "data",
    "dataset",
    "skip_bad",
    "device",
    "amp",
    "reference",
    "deterministic",
    "detect_anomaly",
    "compile",
    "micro_batch",
    "workers",
    "cache",
    "widths",
    "on_collapse",
    "on_nan",
)
RECIPE_FLAGS = (
    "evaluators",
    "direction",
    "size",
    "epochs",
    "batch_size",
    "seed",
    "metric",
    "selector",
    "prune_width",
    "budget",
    "mac_counter",
    "round_to",
)


def _run(kind: type[Run], options: dict[str, Any]) -> None:
    from rich.console import Console

    from gcc.artifacts.run_folder import RECIPE_FILE, claim, is_finished, load_command, require_free, save_command
    from gcc.cli.tables import facts_table, printer, summary
    from gcc.recipe import differences, read_toml
    from gcc.report.html import save_report
    from gcc.training.checkpoint import Checkpoints, Schedule
    from gcc.training.session import no_logger, rewind, run_session
    from gcc.training.tensorboard import FOLDER as BOARDS
    from gcc.training.tensorboard import TensorBoard, require_tensorboard
    from gcc.utils.device import peak_memory
    from gcc.utils.files import fresh_folder, require_room

    context = click.get_current_context()
    command, resume = str(context.info_name), options.pop("resume")
    if resume not in (None, AUTO):
        given = [name for name in options if context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE]
        if "out" in given:
            raise GccError(f"--resume {resume} goes on in that folder: leave --out out, or give --resume auto")
        options = load_command(Path(resume), command, options, given) | {"out": Path(resume)}
    if options["tensorboard"]:
        require_tensorboard()
    schedule = Schedule.parse(options["checkpoint_every"], options["keep_checkpoints"])
    teacher, settings = _teacher(options)
    run = kind(teacher, **_run_arguments(options), **settings)
    usual = Path("runs") / run.arch
    out = options["out"] or (usual if resume else fresh_folder(usual))
    snapshot = Checkpoints(out).newest() if resume else {}
    if any(run.ranks.all_reduce_max(bool(snapshot))):
        run.resume(snapshot)
    elif resume and is_finished(out):
        if changes := differences(read_toml(out / RECIPE_FILE), run.recipe.to_dict() | {"arch": run.arch}):
            raise RunError(f"the run in {out} is finished, with another recipe: {changes}; choose another --out")
        click.echo(f"the run in {out} is finished: nothing is left to be resumed")
        return
    elif resume not in (None, AUTO):
        raise RunError(f"{out} cannot be resumed: it holds no checkpoint that is whole; start it anew, with --resume auto or --force")
    run.check()
    if not run.ranks.is_main_process:
        if not options["dry_run"]:
            run_session(run, out, Console(quiet=True))
        return
    if not snapshot:
        # What `auto` finds without a checkpoint has hardly begun.
        inputs = [options[name] for name in ("data", "teacher") if options[name]]
        require_free(out, force=options["force"] or resume == AUTO, inputs=inputs)
    console = printer()
    facts = {"resumed": f"after {snapshot['phase']} epoch {snapshot['epoch']}, iteration {snapshot['done']}"} if snapshot else {}
    console.print(facts_table(run.plan() | facts | {"output": str(out)}))
    if options["dry_run"]:
        click.echo(run.recipe.to_toml(run.arch), nl=False)
        return
    needs = run.bytes_written() + schedule.keep * run.bytes_of_snapshot()
    if snapshot:
        require_room(out, needs=needs)
        rewind(out, snapshot)
    elif replaced := claim(out, needs=needs):
        console.print(facts_table({"moved aside": f"the run that {out} held is now in {replaced}"}))
    save_command(out, command, options)
    scalars = TensorBoard(out / BOARDS) if options["tensorboard"] else no_logger
    result = run_session(run, out, Console(stderr=True), scalars, schedule)
    # Before anything is told, which ends here where nobody reads standard output any more.
    page = save_report([out])
    console.print(summary(run.arch, result.measurements(), result.places(out), out))
    memory = {} if sys.platform == "win32" else {"peak memory": peak_memory(run.device)}
    console.print(facts_table({"report": str(page)} | memory))


def _run_arguments(options: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: options[name] for name in RUN_ARGUMENTS if name in options} | {"weights": _weights(options["files"])}
    # What runs nothing writes nothing.
    return given | {"cache": options["cache"] and not options["dry_run"]}


def _teacher(options: Mapping[str, Any]) -> tuple[Teacher, dict[str, Any]]:
    """Return the teacher and the recipe fields that were given: those of a file, of a preset, of `--set` and of flags; the later wins."""
    from gcc.recipe import read_toml
    from gcc.registry.presets import preset
    from gcc.training.teacher import Teacher

    settings = read_toml(options["recipe"]) if options["recipe"] else {}
    if options.get("preset"):
        settings |= preset(options["preset"]).settings
    named = settings.pop("arch", None)
    arch = options["arch"] or named
    if named not in (None, arch):
        raise GccError(f"--recipe {options['recipe']} is of {named}, and --arch asks for {arch}: leave --arch out, or give another recipe")
    settings |= _assigned(options["assignments"]) | _given({name: options.get(name) for name in RECIPE_FLAGS})
    if options["teacher"]:
        teacher = Teacher.load(options["teacher"])
        if arch not in (None, teacher.arch):
            raise GccError(f"--teacher {options['teacher']} is a {teacher.arch}, and --arch asks for {arch}: leave --arch out")
        return teacher, settings
    if arch is None:
        raise GccError("no architecture: give --arch NAME (see `gcc list`) or --teacher DIR")
    return Teacher.create(arch), settings


def _numbers(option: str, text: str) -> list[int]:
    parts = text.split(",") if text else []
    if not all(part.isascii() and part.isdigit() and 0 < int(part) <= 1 << 16 for part in parts):
        raise GccError(f"{option} {text}: expected whole numbers from 1 up, joined by commas, such as 1,4")
    return [int(part) for part in parts]


def _weights(files: tuple[str, ...]) -> dict[str, str]:
    weights = {}
    for file in files:
        name, equals, path = file.partition("=")
        if not (equals and name and path):
            example = f"vgg19={file}" if Path(file).suffix else f"{file or 'vgg19'}=FILE"
            raise GccError(f"--weights {file}: expected NAME=FILE, such as --weights {example}")
        weights[name] = path
    return weights


def _assigned(assignments: tuple[str, ...]) -> dict[str, str]:
    settings = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not equals:
            raise GccError(f"--set {assignment}: expected KEY=VALUE, such as --set tau=0.1")
        settings[key.strip()] = value.strip()
    return settings


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}

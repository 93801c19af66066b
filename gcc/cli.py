"""The command line: parse, call, print.

Torch is imported by the commands that need it, not by this module, so that `--help` is there at once.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gcc.errors import GccError

if TYPE_CHECKING:
    from gcc.run import Run
    from gcc.teacher import Teacher

FOLDER = click.Path(path_type=Path)


class Program(click.Group):
    """A group that turns a `GccError` into one line on standard error and exit code 2, and Ctrl-C into exit code 130."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GccError as error:
            click.echo(f"gcc: error: {error}", err=True)
            ctx.exit(2)
        except OSError as error:
            # Such as standard output on a full disk; what a run reads and writes has errors of its own.
            if error.errno == errno.EPIPE:
                raise
            click.echo(f"gcc: error: {error}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo("gcc: stopped", err=True)
            ctx.exit(130)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
def main() -> None:
    """Compress GAN generators to a budget (GCC, NeurIPS 2021).

    Everything that is none of the commands below goes to the C compiler of the same name; `gancc` is this program alone.
    """


def run_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options that every training command has."""
    options = [
        click.option("--arch", metavar="NAME", help="GAN architecture, see `gcc list`; a --teacher knows its own."),
        click.option("--data", metavar="DIR", type=FOLDER, help="Training images in their usual layout  [default: demo data]"),
        click.option("--dataset", metavar="NAME", help="Data set plugin that reads --data  [default: told from the layout]"),
        click.option("--teacher", metavar="DIR", type=FOLDER, help="Start from a saved teacher's weights and recipe."),
        click.option("--weights", metavar="FILE", type=FOLDER, help="Weights of a perceptual loss, such as torchvision's VGG19."),
        click.option("--direction", type=click.Choice(["AtoB", "BtoA"]), help="Which image of a pair is the input."),
        click.option("--size", type=int, metavar="N", help="Height and width of the training images."),
        click.option("--epochs", type=int, metavar="N", help="Epochs of the second step; the first has a tenth as many."),
        click.option("--batch-size", type=int, metavar="N", help="Samples in a batch."),
        click.option("--seed", type=int, metavar="N", help="Seed of everything random."),
        click.option("--recipe", metavar="FILE.toml", type=FOLDER, help="Recipe fields from a file."),
        click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any recipe field (--dry-run prints all)."),
        click.option("--device", default="auto", show_default=True, metavar="NAME", help="auto, cpu, cuda or cuda:N."),
        click.option(
            "--amp", type=click.Choice(["auto", "bf16", "fp16", "off"]), default="auto", show_default=True, help="Mixed precision."
        ),
        click.option("--workers", type=click.IntRange(0), default=0, show_default=True, metavar="N", help="Processes that read images."),
        click.option("--skip-bad", is_flag=True, help="Leave out images that cannot be read."),
        click.option("--out", metavar="DIR", type=FOLDER, help="Output folder  [default: runs/ARCH, numbered]"),
        click.option("--force", is_flag=True, help="Move the run that --out holds aside."),
        click.option("--dry-run", is_flag=True, help="Print the full recipe, costs and plan, and run nothing."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command()
@run_options
@click.option("--metric", metavar="NAME", help="Importance metric: slimming, l1 or a plugin's.")
@click.option("--selector", metavar="NAME", help="Distillation layers: paper, uniform, all, or module names joined by commas.")
@click.option("--prune-width", type=int, metavar="N", help="Width of the generator that is pruned.")
@click.option("--budget", metavar="B", help="3.0G or 900M MACs, 25% of the teacher's, 2.5Mparams; or one per generator, by commas.")
@click.option("--counter", type=click.Choice(["exact", "paper"]), help="MACs counter that the budget is held against.")
def compress(**options: Any) -> None:
    """Compress a teacher's generators to a budget.

    Without --data this runs on demo data, in minutes on a CPU.
    """
    from gcc.compressor import Compressor

    _run(Compressor, options)


@main.command()
@run_options
def train(**options: Any) -> None:
    """Train a teacher by itself, to be compressed later with `gcc compress --teacher`."""
    from gcc.trainer import Trainer

    _run(Trainer, options)


@main.command("list")
def list_plugins() -> None:
    """List every plugin of every registry."""
    from gcc.registry import REGISTRIES
    from gcc.report.terminal import plugin_table, printer

    console = printer()
    for registry in REGISTRIES:
        console.print(plugin_table(registry.kind, registry.listings()))


@main.command()
@click.argument("subject", metavar="ARCH|DIR")
@click.option("--size", type=int, metavar="N", help="Height and width of the training images; for an architecture.")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any recipe field; for an architecture.")
def inspect(subject: str, size: int | None, assignments: tuple[str, ...]) -> None:
    """Show layers, widths, groups and costs of an architecture or of a saved generator."""
    from gcc.inspection import inspect_architecture, inspect_saved
    from gcc.report.terminal import printer

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
    from gcc.translation import translate as translated

    def leave_out(error: GccError) -> None:
        if not skip_bad:
            raise error
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
    from gcc.files import fresh_folder
    from gcc.generation import generate as generated

    for written in generated(student, out or fresh_folder(Path("generated")), count=count, seed=seed, device=device):
        click.echo(written)


@main.command("import")
@click.argument("file", metavar="FILE.pth", type=FOLDER)
@click.argument("out", metavar="OUT", type=FOLDER)
@click.option("--arch", metavar="NAME", required=True, help="GAN architecture of the file: pix2pix or cyclegan, or a plugin's.")
@click.option("--generator", metavar="NAME", help="Which generator it is, where there are several  [default: the first]")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Any recipe field that the file does not tell.")
@click.option("--force", is_flag=True, help="Move the generator that OUT holds aside.")
def import_weights(file: Path, out: Path, arch: str, generator: str | None, assignments: tuple[str, ...], force: bool) -> None:
    """Make a teacher of a generator that another program has trained, such as latest_net_G.pth of pytorch-CycleGAN-and-pix2pix."""
    from gcc.foreign import import_generator
    from gcc.report.terminal import comparison_table, printer

    side = import_generator(arch, file, out, generator=generator, settings=_assigned(assignments), force=force)
    console = printer()
    for name, measured in side.generators.items():
        console.print(comparison_table(f"{arch} {name}", {"teacher": measured.figures()}))
    click.echo(f"teacher saved in {out}")
    for missing in side.missing(out):
        click.echo(f"a whole teacher also needs the generator {missing}: import it into {out} with --generator {missing}")


@main.command()
def version() -> None:
    """Show the versions of this program, torch and Python."""
    import platform
    from importlib.metadata import version as installed

    click.echo(f"gan-gcc {installed('gan-gcc')}, torch {installed('torch')}, Python {platform.python_version()}")


RUN_ARGUMENTS = ("data", "dataset", "skip_bad", "device", "amp", "workers", "weights")
RECIPE_FLAGS = ("direction", "size", "epochs", "batch_size", "seed", "metric", "selector", "prune_width", "budget", "counter")


def _run(kind: type[Run], options: Mapping[str, Any]) -> None:
    from rich.console import Console

    from gcc.files import claim, fresh_folder, require_free
    from gcc.report.terminal import facts_table, printer, summary
    from gcc.watch import Watcher

    teacher, settings = _teacher(options)
    run = kind(teacher, **{name: options[name] for name in RUN_ARGUMENTS}, **settings)
    run.check()
    out = options["out"] or fresh_folder(Path("runs") / run.arch)
    require_free(out, force=options["force"], inputs=[options[name] for name in ("data", "teacher") if options[name]])
    console = printer()
    console.print(facts_table(run.plan() | {"output": str(out)}))
    if options["dry_run"]:
        click.echo(run.recipe.to_toml(run.arch), nl=False)
        return
    if replaced := claim(out, needs=run.bytes_written()):
        console.print(facts_table({"moved aside": f"the run that {out} held is now in {replaced}"}))
    with Watcher(run, out, Console(stderr=True)) as watcher:
        for step in run.steps():
            watcher(step)
    result = run.result()
    result.save(out)
    console.print(summary(run.arch, result.figures(), out))


def _teacher(options: Mapping[str, Any]) -> tuple[Teacher, dict[str, Any]]:
    """Return the teacher and the recipe fields that were given, by file, then `--set`, then flags."""
    from gcc.recipe import read_toml
    from gcc.teacher import Teacher

    settings = read_toml(options["recipe"]) if options["recipe"] else {}
    arch = options["arch"] or settings.pop("arch", None)
    settings.pop("arch", None)
    settings |= _assigned(options["assignments"]) | _given({name: options.get(name) for name in RECIPE_FLAGS})
    if options["teacher"]:
        teacher = Teacher.load(options["teacher"])
        if arch not in (None, teacher.arch):
            raise GccError(f"--teacher {options['teacher']} is a {teacher.arch}, and --arch asks for {arch}: leave --arch out")
        return teacher, settings
    if arch is None:
        raise GccError("no architecture: give --arch NAME (see `gcc list`) or --teacher DIR")
    return Teacher.create(arch), settings


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

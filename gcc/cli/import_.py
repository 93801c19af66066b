"""`gcc import`."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import click

from gcc.cli.help_pages import Command
from gcc.cli.options import PATH
from gcc.cli.values import parse_assignments
from gcc.errors import GccError


@click.command("import", cls=Command, example="gcc import --arch pix2pix checkpoints/facades/latest_net_G.pth teachers/facades")
@click.argument("file", metavar="FILE.pth", type=PATH)
@click.argument("out", metavar="OUT", type=PATH)
@click.option("--arch", metavar="NAME", required=True, help="GAN architecture of the file; see `gcc list`.")
@click.option("--generator", metavar="NAME", help="Which of the architecture's generators FILE contains  [default: the first]")
@click.option(
    "--discriminator",
    "discriminators",
    multiple=True,
    metavar="[NAME=]FILE",
    help="Also import a discriminator, so that you can freeze the teacher; repeat this option for several.",
)
@click.option("--key", default="", metavar="NAME", help="Where the state dict is in a checkpoint  [default: the only one that fits]")
@click.option("--set", "assignments", metavar="KEY=VALUE", multiple=True, help="Set a recipe field that the file does not determine.")
@click.option("--force", is_flag=True, help="If OUT already contains a generator, move that aside.")
def command(
    file: Path,
    out: Path,
    arch: str,
    generator: str | None,
    discriminators: tuple[str, ...],
    key: str,
    assignments: tuple[str, ...],
    force: bool,
) -> None:
    """Import a generator trained by another program as a teacher, such as latest_net_G.pth of pytorch-CycleGAN-and-pix2pix."""
    from gcc.cli.tables import comparison_table, printer
    from gcc.training.import_teacher import import_generator

    teacher = import_generator(
        arch,
        file,
        out,
        generator=generator,
        settings=parse_assignments(assignments),
        force=force,
        key=key,
        discriminators=_discriminator_files(arch, discriminators),
    )
    console = printer()
    for name, report in teacher.generators.items():
        console.print(comparison_table(f"{arch} {name}", {"teacher": report.measurements()}))
    click.echo(f"teacher saved in {out}")
    for missing in teacher.missing(out):
        click.echo(f"a complete teacher also needs the generator {missing}: import it into {out} with --generator {missing}")


def _discriminator_files(arch: str, texts: Iterable[str]) -> dict[str, Path]:
    """Return the files of `--discriminator FILE` or `--discriminator NAME=FILE`, by discriminator.

    Raises:
        GccError: a text does not say which of several discriminators its file is, or two name the same one.
    """
    from gcc.registry import ARCHITECTURES

    names, files = ARCHITECTURES.load(arch).discriminators, dict[str, Path]()
    for text in texts:
        name, equals, path = text.partition("=")
        if not (equals and name in names):
            name, path = names[0], text
            if len(names) > 1:
                raise GccError(f"--discriminator {text}: {arch} has several, so name it, such as --discriminator {name}={text}")
        if name in files:
            raise GccError(f"--discriminator {text}: the discriminator {name} is given twice")
        files[name] = Path(path)
    return files

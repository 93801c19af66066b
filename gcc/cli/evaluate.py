"""`gcc evaluate`."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gcc.cli.errors import notice
from gcc.cli.help_pages import Command
from gcc.cli.options import PATH, device_option, generator_option, require_inputs, skip_bad_option, weights_option
from gcc.cli.values import parse_weights


@click.command("evaluate", cls=Command, example="gcc evaluate runs/pix2pix/student --evaluators l1,psnr")
@click.argument("subject", metavar="STUDENT|TEACHER|IMAGES", type=PATH)
@click.option("--data", metavar="DIR", type=PATH, help="Dataset for a generator  [default: that of its run], or a folder of real images.")
@click.option(
    "--evaluators", metavar="NAMES", default="", help="Evaluators, comma-separated; see `gcc list`  [default: those of the recipe]"
)
@click.option(
    "--split", type=click.Choice(["test", "val"]), default="test", show_default=True, help="Split of the dataset, for a generator."
)
@click.option("--dataset", metavar="NAME", help="Dataset plugin that reads --data  [default: found by the layout]")
@weights_option
@click.option("--batch-size", type=click.IntRange(1), metavar="N", help="Images per batch  [default: as in the recipe, at most 64]")
@click.option("--range", metavar="LOW..HIGH", help="Values of black and white in images with more than 8 bits  [default: by their type]")
@generator_option
@device_option
@skip_bad_option
@click.option("--out", metavar="FILE.json", type=PATH, help="File for the metrics  [default: next to the generator or the images]")
def command(subject: Path, data: Path | None, weights: tuple[str, ...], out: Path | None, **options: Any) -> None:
    """Measure the quality of saved generators on a dataset, or of a folder of images compared with real ones."""
    require_inputs({"data": data})
    from rich.text import Text

    from gcc.cli.tables import metrics_table, printer
    from gcc.evaluation.evaluate import evaluate
    from gcc.evaluation.evaluation_file import evaluation_path, free_path, save_evaluation

    default_path = evaluation_path(subject, options["split"], out)
    evaluation = evaluate(subject, data, weights=parse_weights(weights), **options)
    for text in evaluation.changes:
        notice(text)
    for reason in evaluation.left_out:
        notice(f"left out: {reason}")
    console = printer()
    split = f", {evaluation.split} split" if evaluation.split else ""
    # A long path would be broken to the width of a table.
    console.print(Text(f"data: {evaluation.data}{split}"), soft_wrap=True)
    for generator, metrics in evaluation.metrics.items():
        console.print(metrics_table(f"{evaluation.subject} {generator}", {str(key): asdict(metric) for key, metric in metrics.items()}))
        if any(math.isnan(metric.value) for metric in metrics.values()):
            notice(f"{generator}: metrics are NaN because the generated images (or the features being compared) contain NaN or Inf")
    path = out or free_path(default_path, evaluation)
    save_evaluation(path, evaluation)
    click.echo(f"metrics saved in {path}")

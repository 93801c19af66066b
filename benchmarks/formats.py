"""Exports students to every format, runs each file in its own program, and prints a table: errors, quality and times beside PyTorch's.

    python benchmarks/formats.py runs/pix2pix/student runs/srgan/student --formats onnx,openvino,ncnn,litert --out formats.jsonl

With AlexNet's weights (`--weights alexnet=FILE`), the column LPIPS says what lower precision costs by that distance: how much farther
images are from the real ones, or, where these are unknown, how far they are from those in float32.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor

from gcc import GccError, export
from gcc.artifacts.model import read, single_generator
from gcc.cli.values import parse_weights
from gcc.deploy.exported import Exported
from gcc.deploy.quality import samples_of
from gcc.deploy.runtime_names import FORMATS
from gcc.evaluation.similarity import LPIPS
from gcc.registry import RUNTIMES, DatasetSource, EvalContext, EvalSample, Runtime
from gcc.utils.weights import Weights

FIELDS = "student", "format", "precision", "MB", "largest error", "PSNR", "fall", "LPIPS", "in float32", "PyTorch", "file", "ratio"


def runtime_of(form: str) -> type[Runtime]:
    return RUNTIMES.load(FORMATS.get(form, form))


def no_data() -> DatasetSource:
    raise GccError("LPIPS learns from no data")


def lpips_of(weights: str) -> LPIPS:
    """Return the evaluator with the weights that `--weights` names."""
    return LPIPS(EvalContext(Weights(parse_weights([weights])), torch.device("cpu"), no_data))


@torch.inference_mode()
def perceptual_cost(student: Path, written: Exported, runtime: Runtime, lpips: LPIPS) -> str:
    """Return what lower precision costs by LPIPS, in words."""
    artifact = single_generator(read(student))
    network = artifact.network()
    samples = samples_of(artifact, written.inputs, None)
    exported = runtime.read(written.path, network)
    images = [(network(sample), exported(sample)) for sample in samples.held_out]

    def distance(fakes: Iterable[Tensor], others: Iterable[Tensor]) -> float:
        samples = (EvalSample({"real": other}, fake, "real", "real") for fake, other in zip(fakes, others, strict=True))
        return statistics.mean(float(lpips.compare(sample)) for sample in samples)

    exact, lower = zip(*images, strict=True)
    if samples.truth is None:
        return f"{distance(lower, exact):.4f} to float32"
    before, after = distance(exact, samples.truth), distance(lower, samples.truth)
    return f"{before:.4f}, {100 * (after / before - 1):+.2f} %"


def measured(student: Path, form: str, precision: str, max_loss: float, lpips: LPIPS | None) -> dict[str, str]:
    """Return a row: the export of a student to a format in a precision, or why there is none."""
    row = {"student": str(student), "format": form, "precision": precision}
    with TemporaryDirectory() as folder:
        out = Path(folder) / f"student{runtime_of(form).suffixes[0]}"
        try:
            written = export(student, out, format=form, precision=precision, max_loss=None if precision == "fp32" else max_loss)
        except GccError as error:
            return row | {"file": str(error)}
        row["MB"] = f"{written.size / 1e6:.2f}"
        row["PyTorch"] = f"{written.before.median_ms:.1f} ms"
        if written.comparison and written.after:
            row["largest error"] = f"{written.comparison.error / written.comparison.reach:.1e}"
            row["file"] = f"{written.after.median_ms:.1f} ms"
            row["ratio"] = f"{written.before.median_ms / written.after.median_ms:.2f}"
        if written.loss:
            row["PSNR"], row["fall"] = f"{written.loss.psnr:.1f} dB", f"{written.loss.drop:z.3f} dB"
            row["in float32"] = str(len(written.in_float32))
            if lpips:
                row["LPIPS"] = perceptual_cost(student, written, runtime_of(form)(), lpips)
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("students", nargs="+", type=Path)
    parser.add_argument("--formats", default="onnx,openvino,ncnn,torchscript,pt2")
    parser.add_argument("--precisions", default="fp32,fp16,int8")
    parser.add_argument("--max-loss", type=float, default=0.2)
    parser.add_argument("--weights", metavar="alexnet=FILE", help="AlexNet's weights, for LPIPS")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lpips = lpips_of(arguments.weights) if arguments.weights else None
    print("|", " | ".join(FIELDS), "|")
    print("|", " | ".join("---" for _ in FIELDS), "|")
    for student in arguments.students:
        for form in arguments.formats.split(","):
            for precision in arguments.precisions.split(","):
                if precision in runtime_of(form).precisions:
                    row = measured(student, form, precision, arguments.max_loss, lpips)
                    print("|", " | ".join(row.get(field, "") for field in FIELDS), "|", flush=True)
                    if arguments.out:
                        with arguments.out.open("a") as lines:
                            lines.write(json.dumps(row) + "\n")

"""Exports students to every format, runs each file in its own program, and prints a table: errors, quality and times beside PyTorch's.

python benchmarks/formats.py runs/pix2pix/student runs/srgan/student --formats onnx,openvino,ncnn,litert --out formats.jsonl
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from gcc import GccError, export
from gcc.deploy.runtime_names import FORMATS
from gcc.registry import RUNTIMES, Runtime

FIELDS = "student", "format", "precision", "MB", "largest error", "PSNR", "fall", "in float32", "PyTorch", "file", "ratio"


def runtime_of(form: str) -> type[Runtime]:
    return RUNTIMES.load(FORMATS.get(form, form))


def measured(student: Path, form: str, precision: str, max_loss: float) -> dict[str, str]:
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
            row["PSNR"], row["fall"] = f"{written.loss.psnr:.1f} dB", f"{written.loss.drop:.3f} dB"
            row["in float32"] = str(len(written.in_float32))
    return row


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("students", nargs="+", type=Path)
    parser.add_argument("--formats", default="onnx,openvino,ncnn,torchscript,pt2")
    parser.add_argument("--precisions", default="fp32,fp16,int8")
    parser.add_argument("--max-loss", type=float, default=0.2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    print("|", " | ".join(FIELDS), "|")
    print("|", " | ".join("---" for _ in FIELDS), "|")
    for student in arguments.students:
        for form in arguments.formats.split(","):
            for precision in arguments.precisions.split(","):
                if precision in runtime_of(form).precisions:
                    row = measured(student, form, precision, arguments.max_loss)
                    print("|", " | ".join(row.get(field, "") for field in FIELDS), "|", flush=True)
                    if arguments.out:
                        with arguments.out.open("a") as lines:
                            lines.write(json.dumps(row) + "\n")

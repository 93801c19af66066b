"""Collect the figures of finished runs as JSON lines: metrics of teacher and student, and how balanced the game was.

    gcc ablate --arch pix2pix --data datasets/facades --out runs/facades
    python benchmarks/figures.py runs/facades --out benchmarks/figures/facades.jsonl

Runs are all folders below the given one that have a finished student. In each quarter of the joint training, `imbalance` is the mean of
|L_G - L_Dfake| of the student (Eq. 5, 6), `target` that of L_target (Eq. 7), and `active` the share of open channels of each gate.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gcc.artifacts.model import read
from gcc.artifacts.run_folder import STUDENT, is_finished

QUARTERS = 4
FIELDS = ("seed", "steps", "metric", "prune_width", "distillers", "student_steps")
FOLLOWED = {"student/imbalance/": "imbalance", "target/": "target", "active/": "active"}


def quarters(log: Path) -> dict[str, list[float]]:
    """Return the means of the logged values that are followed, in each quarter of the joint training, by name."""
    lines = [line for line in map(json.loads, log.read_text().splitlines()) if line["phase"] == "train"]
    last = max(line["step"] for line in lines)
    values: dict[str, list[list[float]]] = {}
    for line in lines:
        for key, value in line.items():
            for prefix, title in FOLLOWED.items():
                if key.startswith(prefix):
                    in_quarters = values.setdefault(f"{title} {key.removeprefix(prefix)}", [[] for _ in range(QUARTERS)])
                    in_quarters[min(QUARTERS - 1, (line["step"] - 1) * QUARTERS // last)].append(value)
    return {name: [round(statistics.mean(part), 4) for part in parts if part] for name, parts in values.items()}


def figures(title: str, folder: Path) -> Iterator[dict[str, Any]]:
    """Yield a line for each generator of a finished run."""
    for name, student in read(folder / STUDENT).items():
        recipe = student.recipe
        roles = {
            role: {"macs": measured["exact_macs"], "parameters": measured["parameters"], **measured["metrics"]}
            for role, measured in student.measurements.items()
        }
        settings = {field: getattr(recipe, field) for field in FIELDS}
        yield {"run": title, "generator": name, **settings, **roles, **quarters(folder / "metrics.jsonl")}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in arguments.runs.glob(f"**/{STUDENT}") if is_finished(path.parent))
    lines = [json.dumps(line) for folder in folders for line in figures(str(folder.relative_to(arguments.runs)), folder)]
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text("".join(f"{line}\n" for line in lines))
    print(f"{arguments.out}: {len(lines)} lines")

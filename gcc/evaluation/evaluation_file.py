"""The file of an evaluation: its path, what it holds, and that no other file is overwritten."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from gcc.artifacts.model import default_output
from gcc.evaluation.evaluation import Evaluation
from gcc.utils.files import require_replaceable, write_text
from gcc.utils.json_text import json_text


def evaluation_path(subject: Path, split: str, out: Path | None) -> Path:
    """Return the file for the metrics: `out`, or a file next to the subject; for a subject on the Hub, a file in the current folder.

    Raises:
        OutputError: the path is a folder, lies below a file, or is a file with other contents.
    """
    suffix = "" if split == "test" else f"-{split}"
    path = out or default_output(subject, f"-evaluation{suffix}.json")
    require_replaceable(path, _is_evaluation, "metrics")
    return path


def free_path(path: Path, evaluation: Evaluation) -> Path:
    """Return `path`; append a number if it holds something other than this evaluation, so that it is not overwritten."""
    scope = _scope(asdict(evaluation))
    for number in count(2):
        if not path.exists() or (_is_evaluation(path) and _scope(json.loads(path.read_text(encoding="utf-8"))) == scope):
            break
        stem = path.stem if number == 2 else path.stem.rpartition("-")[0]
        path = path.with_name(f"{stem}-{number}{path.suffix}")
    return path


def _scope(contents: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what identifies an evaluation: its subject, data, split, range and metrics."""
    # Version 0.1 called the metrics figures.
    metrics = contents["metrics"] if "metrics" in contents else contents["figures"]
    keys = {generator: sorted(values) for generator, values in metrics.items()}
    return contents["subject"], contents.get("data"), contents.get("split"), contents.get("range", ""), keys


def save_evaluation(path: Path, evaluation: Evaluation) -> None:
    """Write an evaluation as JSON, with null for values that are not finite.

    Raises:
        OutputError: the file cannot be written.
    """
    write_text(path, json_text(asdict(evaluation), indent=2) + "\n")


def _is_evaluation(path: Path) -> bool:
    try:
        contents = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(contents, dict) or "subject" not in contents:
        return False
    metrics = contents.get("metrics", contents.get("figures"))
    return isinstance(metrics, dict) and all(isinstance(values, dict) for values in metrics.values())

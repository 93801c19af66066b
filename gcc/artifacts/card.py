"""The model card: `README.md` in the folder of a saved generator, in the format of the Hugging Face Hub.

Its front matter, in YAML, follows https://huggingface.co/docs/hub/model-cards; users add a licence themselves.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gcc.artifacts.comparison import Measurements, comparison
from gcc.artifacts.config import Artifact
from gcc.registry import Architecture, MetricKey, unit_of
from gcc.utils.templates import render

CARD = "README.md"
GRID = "samples.png"
"""The sample grid in the folder of the card."""
DATASET = {"type": "held-out", "name": "held-out images"}
"""The data of the metrics, as the Hub shows it."""


def model_card(artifact: Artifact, columns: Mapping[str, Measurements], grid: str | None) -> str:
    """Return the text of a generator's model card.

    Args:
        artifact: the generator that will be saved.
        columns: its measurements as a teacher, as a student and as their variants.
        grid: the file of the sample grid in the card's folder; None if there is none.
    """
    return render(
        "gcc.artifacts",
        "card.md.j2",
        **_front_matter(artifact.architecture, artifact.arch, artifact.role, {artifact.generator: columns[artifact.role]}),
        generator=artifact.generator,
        note=artifact.architecture.note,
        networks=artifact.architecture.describe_networks(),
        needs_factory=artifact.needs_factory,
        **_own_class(artifact),
        columns=list(columns),
        rows=comparison(columns),
        grid=grid,
        environment=artifact.environment,
    )


def index_card(architecture: Architecture[Any], arch: str, role: str, generators: Mapping[str, Measurements]) -> str:
    """Return the text of the card of a student or teacher with several generators; each generator also has a card in its folder.

    Args:
        architecture: the family, bound to its recipe.
        arch: the name of the family.
        role: "student" or "teacher".
        generators: the measurements by generator.
    """
    return render("gcc.artifacts", "index_card.md.j2", **_front_matter(architecture, arch, role, generators), generators=list(generators))


def _own_class(artifact: Artifact) -> dict[str, str]:
    """Return the class of the user's own generator, and the line that imports it; empty if there is none, or no module has it."""
    if not artifact.needs_factory:
        return {"own_class": "", "own_import": ""}
    module, _, name = artifact.architecture.describe_networks()["made_by"].rpartition(".")
    is_importable = "<" not in module and module.partition(".")[0] not in ("", "__main__")
    return {"own_class": name, "own_import": f"from {module} import {name}" if is_importable else ""}


def _front_matter(architecture: Architecture[Any], arch: str, role: str, generators: Mapping[str, Measurements]) -> dict[str, object]:
    """Return the values of the front matter."""
    return {
        "arch": arch,
        "role": role,
        "task": "unconditional-image-generation" if architecture.takes_noise else "image-to-image",
        "dataset": DATASET,
        "results": {name: results for name, measurements in generators.items() if (results := _results(measurements["metrics"]))},
        "yaml": _yaml,
    }


def _results(metrics: Mapping[MetricKey, float]) -> list[dict[str, Any]]:
    """Return the finite metrics with their names and units."""
    return [
        {"type": key.evaluator, "name": ", ".join(filter(None, (key, unit_of(key)))), "value": float(value)}
        for key, value in metrics.items()
        if math.isfinite(value)
    ]


def _yaml(value: str | float) -> str:
    """Return a scalar in YAML 1.1, which reads `1e-05` as a string.

    >>> _yaml(1e-05), _yaml(24.5), _yaml("a: b")
    ('1.0e-05', '24.5', '"a: b"')
    """
    text = json.dumps(value)
    return text.replace("e", ".0e") if isinstance(value, float) and "e" in text and "." not in text else text

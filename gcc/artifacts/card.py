"""The model card: `README.md` beside a saved generator, as the Hugging Face Hub reads it.

Its front matter, in YAML, follows https://huggingface.co/docs/hub/model-cards; whose the licence is to say is left to the user.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gcc.artifacts.comparison import Measurements, comparison
from gcc.artifacts.config import Artifact
from gcc.registry import EVALUATORS, Architecture

GRID = "samples.png"
"""The sample grid beside the card."""
HELD_OUT = "held-out images"
"""What the Hub is told that figures of quality were measured on."""


def model_card(artifact: Artifact, sides: Mapping[str, Measurements], grid: str | None) -> str:
    """Return the text of a generator's model card.

    Args:
        artifact: the generator, as it will be saved.
        sides: the figures of every side by role.
        grid: file of the sample grid beside the card, where there is one.
    """
    arch, role, environment = artifact.arch, artifact.role, artifact.environment
    picture = f"\n![Samples on held-out images]({grid})\n" if grid else ""
    note = f"\nNote: {artifact.architecture.note}.\n" if artifact.architecture.note else ""
    rows = "\n".join(f"| {title} | {' | '.join(cells)} |" for title, cells in comparison(sides).items())
    made = "compressed with" if role == "student" else "a teacher for"
    return f"""{front_matter(artifact.architecture, arch, role, {artifact.generator: sides[role]})}
# {arch} {role}

A {arch} generator (`{artifact.generator}`), {made} generator-discriminator cooperative compression (GCC, NeurIPS 2021).
{note}
| | {" | ".join(sides)} |
|---|{"---|" * len(sides)}
{rows}
{picture}
```python
from gcc import load

generator = load("path/to/this/folder")  # or "hf://user/name", where it lies on the Hub
```

MACs are per sample; `exact` counts true multiply-accumulates, the paper's counter is that of Li et al. 2021. Latency is the median for one
sample. Made with gan-gcc {environment["gan-gcc"]} and torch {environment["torch"]}.
"""


def side_card(architecture: Architecture[Any], arch: str, role: str, generators: Mapping[str, Measurements]) -> str:
    """Return the text of the card of a side that has several generators, each with a card of its own in its folder.

    Args:
        architecture: the family, bound to its recipe.
        arch: its name.
        role: of the side.
        generators: their figures by name.
    """
    links = "\n".join(f"- [{name}]({name}/README.md)" for name in generators)
    return f"""{front_matter(architecture, arch, role, generators)}
# {arch} {role}

The generators of a {arch}, each with a card of its own:

{links}
"""


def front_matter(architecture: Architecture[Any], arch: str, role: str, generators: Mapping[str, Measurements]) -> str:
    """Return what the Hub reads of a card.

    Args:
        architecture: the family, bound to its recipe.
        arch: its name.
        role: of the side.
        generators: the figures of its generators by name.
    """
    takes_noise = architecture.sample_z(np.random.default_rng()) is not None
    task = "unconditional-image-generation" if takes_noise else "image-to-image"
    tags = ["gan", "model-compression", "gcc", arch, role]
    lines = ["---", "library_name: gan-gcc", f"pipeline_tag: {task}", "tags:", *(f"- {json.dumps(tag)}" for tag in tags)]
    results = [line for name, measurements in generators.items() for line in _result(task, name, measurements)]
    if results:
        lines += ["model-index:", f"- name: {json.dumps(f'{arch} {role}')}", "  results:", *results]
    return "\n".join([*lines, "---", ""])


def _result(task: str, generator: str, measurements: Measurements) -> Iterator[str]:
    """Yield the lines of a generator's figures of quality; none where it has none that are numbers."""
    measured = {title: figure for title, figure in measurements["metrics"].items() if math.isfinite(figure)}
    if measured:
        yield f"  - task:\n      type: {task}\n      name: {json.dumps(generator)}"
        yield f"    dataset:\n      type: held-out\n      name: {HELD_OUT}"
        yield "    metrics:"
    for title, figure in measured.items():
        yield f"    - type: {json.dumps(title.partition(' ')[0])}\n      name: {json.dumps(_named(title))}\n      value: {_number(figure)}"


def _named(title: str) -> str:
    """Return a figure's title with its unit."""
    name = title.partition(" ")[0]
    unit = EVALUATORS.load(name).unit if name in EVALUATORS.names() else ""
    return f"{title}, {unit}" if unit else title


def _number(value: float) -> str:
    """Return a number as YAML 1.1 reads it, which takes `1e-05` for a text.

    >>> _number(1e-05), _number(24.5)
    ('1.0e-05', '24.5')
    """
    digits, exponent, rest = repr(float(value)).partition("e")
    return digits + (".0" if exponent and "." not in digits else "") + exponent + rest

"""The model card: `README.md` beside a saved generator, as the Hugging Face Hub reads it."""

from __future__ import annotations

from collections.abc import Mapping

from gcc.artifact import Artifact
from gcc.report.comparison import Figures, comparison

GRID = "samples.png"
"""The sample grid beside the card."""


def model_card(artifact: Artifact, sides: Mapping[str, Figures], grid: str | None) -> str:
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
    return f"""---
library_name: gan-gcc
tags:
- gan
- model-compression
- {arch}
---

# {arch} {role}

A {arch} generator (`{artifact.generator}`), {made} generator-discriminator cooperative compression (GCC, NeurIPS 2021).
{note}
| | {" | ".join(sides)} |
|---|{"---|" * len(sides)}
{rows}
{picture}
```python
from gcc import load

generator = load("path/to/this/folder")
```

MACs are per sample; `exact` counts true multiply-accumulates, the paper's counter is that of Li et al. 2021. Latency is the median for one
sample. Made with gan-gcc {environment["gan-gcc"]} and torch {environment["torch"]}.
"""

"""Compares a run with the one that its folder contains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gcc.artifacts.run_folder import RECIPE_FILE
from gcc.errors import OutputError
from gcc.recipe import current_names, differences, differs_in_length_only, read_toml, training_steps, with_new_fields

if TYPE_CHECKING:
    from gcc.training.loop import TrainingLoop


def is_longer(run: TrainingLoop, folder: Path) -> bool:
    """Return whether a run is longer than the one that a folder contains.

    Raises:
        OutputError: they differ in more than their length, or the run is shorter.
    """
    saved = with_new_fields(run.recipe, current_names(read_toml(folder / RECIPE_FILE)))
    recipe = {"arch": run.arch, **run.recipe.to_dict()}
    changes = differences(saved, recipe)
    if not differs_in_length_only(saved, recipe):
        raise OutputError(f"{folder} contains a run with another recipe ({changes}): choose another `out`, or use the same recipe")
    before, now = training_steps(saved, run.context.loader.steps), run.context.training_steps
    if now < before:
        raise OutputError(f"{folder} contains a longer run ({changes}): a run may only grow, so give at least {before} steps")
    return now > before

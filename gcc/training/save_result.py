"""Writes trained pairs and the record of their run to folders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL.Image import Image

from gcc.artifacts.card import CARD, GRID, index_card, model_card
from gcc.artifacts.model import save, save_discriminators
from gcc.artifacts.run_folder import set_run_aside
from gcc.errors import OutputError, OutputWarning
from gcc.training.trained_pair import TrainedPair
from gcc.utils.files import explained, replacing, require_empty, write_text
from gcc.utils.user_warnings import warn_user


@dataclass(frozen=True)
class PairToSave:
    """A trained pair and what is saved with it.

    Attributes:
        pair: the pair.
        folder: where it is saved, such as `runs/pix2pix/student`.
        measurements: of every role, by generator, for the model card to compare.
        grid: a grid of held-out samples. None writes no picture.
    """

    pair: TrainedPair
    folder: Path
    measurements: Mapping[str, Mapping[str, Any]]
    grid: Image | None = None


def save_run(folder: Path, pairs: Sequence[PairToSave], record: Mapping[str, str]) -> None:
    """Write the result of a run. Nothing is written if the folder is refused.

    Args:
        folder: the folder of the run.
        pairs: the trained pairs, in folders of their own below it.
        record: texts by file name, which make the folder that of a run. An earlier run in it is then moved to `replaced/`, with a warning.
            Empty if the run itself has written its files.

    Raises:
        OutputError: the folder cannot be written, or contains files of these names that are not a run's.
        RunError: another process trains there.
    """
    if record and (aside := set_run_aside(folder)):
        warn_user(f"{folder} contained an earlier run, which is in {aside} now", OutputWarning)
    for pair in pairs:
        require_empty(pair.folder)
    for name in record:
        if (folder / name).exists():
            raise OutputError(f"{folder} contains {name}, but no run: choose another folder")
    with explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, text in record.items():
        write_text(folder / name, text)
    for pair in pairs:
        save_pair(pair)


def save_pair(saved: PairToSave) -> None:
    """Write every generator of a pair with its configuration and model card, and the discriminators if it has any.

    Raises:
        OutputError: the folder cannot be written.
    """
    pair, folder, measurements, grid = saved.pair, saved.folder, saved.measurements, saved.grid
    if pair.discriminators:
        save_discriminators(folder, pair.discriminators)
    for name, artifact in pair.artifacts(folder, measurements).items():
        if grid is not None:
            with replacing(artifact.folder / GRID) as temporary:
                grid.save(temporary)
        save(artifact, pair.generators[name].network, model_card(artifact, artifact.measurements, GRID if grid else None))
    if len(pair.generators) > 1:
        own = {name: measurements[name][pair.role] for name in pair.generators}
        write_text(folder / CARD, index_card(pair.architecture, pair.arch, pair.role, own))
